/// One of the two ways through a plan.
public enum KernelPass: String, Sendable, Codable, CaseIterable { case forward, backward }

/// Told of every kernel that training runs, by the thread that ran it. It must not allocate, and must take calls of several
/// threads at once, each with its own `thread`.
public protocol KernelObserver: AnyObject {
    /// Thread `thread` did its part of an operation (`Replica.operations[node]`); times are nanoseconds of CLOCK_MONOTONIC. What
    /// it then waits for the other threads is not in them.
    func ran(node: Int, pass: KernelPass, thread: Int, from start: Int, to end: Int)
}
