/// Told of every batch that a loader makes, by the thread that made it. It must not allocate. Calls come one at a time.
package protocol LoaderObserver: AnyObject, Sendable {
    /// Loader thread `thread` read, decoded and transformed the batch of this number; times are nanoseconds of
    /// CLOCK_MONOTONIC.
    func filled(batch number: Int, thread: Int, from start: Int, to end: Int)
}
