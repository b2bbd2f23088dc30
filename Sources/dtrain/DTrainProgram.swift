internal import CAllocationCounter
import DTrainCLI

/// The `dtrain` command: dtrain's own models and nothing else.
@main struct DTrainProgram: TrainingProgram {
    static var allocationCount: (() -> Int)? { allocation_count() < 0 ? nil : { allocation_count() } }
}
