/// Whoever listens to a run. Events come from the training thread and from the thread that writes checkpoints, so a
/// sink guards its own state. It returns quickly and never throws: what goes wrong in reporting must not stop training.
public protocol EventSink: Sendable {
    func receive(_ event: Event)
}

/// Several sinks as one: each receives every event, in order.
public struct EventSinks: EventSink {
    private let sinks: [any EventSink]

    public init(_ sinks: [any EventSink]) { self.sinks = sinks }

    public func receive(_ event: Event) {
        for sink in sinks { sink.receive(event) }
    }
}
