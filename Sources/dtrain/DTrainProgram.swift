internal import CAllocationCounter
import DTrainCLI
import DTrainEngine

/// The `dtrain` command: dtrain's own models and nothing else.
@main struct DTrainProgram: TrainingProgram {
    static var allocationCount: (() -> Int)? {
        guard allocation_count() >= 0 else { return nil }
        OneDNN.countAllocations { allocation_count() }
        return { allocation_count() - OneDNN.allocationCount }
    }
}
