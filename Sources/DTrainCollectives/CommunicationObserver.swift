/// Told of all that the communication thread does, on that thread. It must not allocate.
package protocol CommunicationObserver: AnyObject, Sendable {
    /// The operation is over, waiting for other ranks included; times are nanoseconds of CLOCK_MONOTONIC.
    func ran(_ operation: CommunicationOperation, from start: Int, to end: Int)
}
