import DTrainCollectives
import DTrainData
import Foundation

/// What all ranks must have in common before they compute together, and how one rank's success or failure becomes
/// everyone's.
enum Agreement {
    /// Compares configuration and data of all ranks with rank 0's. Throws the same `SharedFailure` on every rank.
    static func check(_ configuration: RunConfiguration, _ data: OpenedData, over queue: CommunicationQueue) throws {
        struct Card: Codable {
            var settings: [String: String]
            var data: String
        }
        func settings(_ card: Card) -> RunSettings {
            var settings = RunSettings(source: "the command line")
            for (name, value) in card.settings { settings.values[RunSetting(rawValue: name)!] = value }
            return settings
        }
        guard queue.size > 1 else { return }
        let named = configuration.saved.values.map { ($0.key.rawValue, $0.value) }
        let cards: [Card] = try gather(
            Card(settings: Dictionary(uniqueKeysWithValues: named), data: data.digest), over: queue)
        try shared {
            for (rank, card) in cards.enumerated().dropFirst() {
                try settings(card).check(against: settings(cards[0]), rank: rank, host: queue.hosts[rank])
                guard card.data == cards[0].data else {
                    throw TrainerError.dataDiffers(
                        rank: rank, host: queue.hosts[rank], found: card.data, rankZero: cards[0].data)
                }
            }
        }
    }

    /// Runs `make` on every rank and compares the graphs it gives, as `text`, with rank 0's. If any rank fails, or has
    /// another graph, every rank throws the same `SharedFailure`.
    static func onModel<Model>(
        over queue: CommunicationQueue, _ make: () throws -> Model, text: (Model) -> String
    ) throws -> Model {
        guard queue.size > 1 else { return try shared { try make() } }
        let result = Result { try make() }
        let cards: [Envelope<String>] = try gather(Envelope(result.map(text)), over: queue)
        for card in cards where card.failure != nil {
            if case .failure(let error) = result { throw SharedFailure(error) }
            throw card.sharedFailure
        }
        try shared {
            for (rank, card) in cards.enumerated() where card.value != cards[0].value {
                throw TrainerError.modelDiffers(
                    rank: rank, host: queue.hosts[rank], difference: firstDifference(card.value!, cards[0].value!))
            }
        }
        return try result.get()
    }

    /// Runs `body` on rank 0 and gives every rank its value. If it throws, every rank throws a `SharedFailure`.
    static func fromRankZero<Value: Codable>(
        over queue: CommunicationQueue, _ body: () throws -> Value
    ) throws -> Value {
        guard queue.size > 1 else { return try shared(body) }
        let result: Result<Value, any Error>? = queue.rank == 0 ? Result { try body() } : nil
        let bytes = try result.map { Array(try JSONEncoder().encode(Envelope($0))) } ?? []
        let received = try queue.perform { try $0.broadcast(bytes, root: 0) }
        if case .failure(let error)? = result { throw SharedFailure(error) }
        let envelope = try JSONDecoder().decode(Envelope<Value>.self, from: Data(received))
        guard let value = envelope.value else { throw envelope.sharedFailure }
        return value
    }

    /// Runs what gives the same result on every rank; an error is every rank's.
    static func shared<Value>(_ body: () throws -> Value) throws -> Value {
        do { return try body() } catch { throw SharedFailure(error) }
    }

    /// Every rank's value, in rank order.
    static func gather<Value: Codable>(_ value: Value, over queue: CommunicationQueue) throws -> [Value] {
        let bytes = Array(try JSONEncoder().encode(value))
        let all = try queue.perform { try $0.allGather(bytes) }
        return try all.map { try JSONDecoder().decode(Value.self, from: Data($0)) }
    }

    /// A value or the error that came instead of it.
    private struct Envelope<Value: Codable>: Codable {
        var value: Value?
        var failure: String?
        var exitCode: Int32 = 0

        init(_ result: Result<Value, any Error>) {
            switch result {
            case .success(let value): self.value = value
            case .failure(let error):
                failure = "\(error)"
                exitCode = DTrainTrainer.exitCode(of: error)
            }
        }

        var sharedFailure: SharedFailure { SharedFailure(description: failure ?? "", exitCode: exitCode) }
    }

    /// The first line in which two graphs differ.
    private static func firstDifference(_ text: String, _ reference: String) -> String {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let references = reference.split(separator: "\n", omittingEmptySubsequences: false)
        for index in 0..<max(lines.count, references.count) {
            let line = index < lines.count ? "'\(lines[index])'" : "nothing"
            let expected = index < references.count ? "'\(references[index])'" : "nothing"
            if line != expected { return "\(line) where rank 0 has \(expected)" }
        }
        return "nothing visible"
    }
}
