import DTrainEngine

/// What a step consists of beside the operations of its plan.
enum StepPart: Int, CaseIterable {
    /// Waiting for a batch.
    case data
    /// Waiting for the gradients of other ranks, once backward is done.
    case exchange
    /// Clipping, the update, running statistics.
    case optimizer
}

/// Told of all that the compute threads do in a step. It must not allocate.
protocol StepObserver: KernelObserver {
    /// Thread 0 did this part; times are nanoseconds of CLOCK_MONOTONIC.
    func ran(_ part: StepPart, from start: Int, to end: Int)
}
