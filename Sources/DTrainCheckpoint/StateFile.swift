import DTrainDigest
import Foundation

/// `state.json`: the training state, the format's version, the other files' sizes and digests, and, last, the SHA-256 of
/// all its own text before that entry, so that a flipped bit is found here too.
enum StateFile {
    static let name = "state.json"
    static let format = "dtrain-checkpoint"
    static let version = 1

    struct Record: Hashable, Sendable, Codable {
        let bytes: Int
        let sha256: String
    }

    struct Content: Sendable {
        let state: TrainingState
        /// The other files by name.
        let files: [String: Record]
    }

    static func encode(_ content: Content) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let text = try encoder.encode(content)
        let end = Array("\n}".utf8)
        precondition(text.suffix(end.count).elementsEqual(end))
        let body = Array(text.dropLast(end.count))
        return body + closing(of: body)
    }

    /// Reads and checks state.json; the other files are not looked at.
    static func read(_ path: String) throws(CheckpointError) -> Content {
        let file = try FileInput(path)
        let bytes = try file.bytes(0..<file.byteCount)
        struct Header: Decodable {
            let format: String?
            let format_version: Int?
        }
        let header: Header
        do {
            header = try JSONDecoder().decode(Header.self, from: Data(bytes))
        } catch {
            throw .malformedState(path: path, reason: "it is no complete JSON object")
        }
        guard header.format == format, let found = header.format_version else {
            throw .notACheckpoint(path: path, reason: "it has no \"format\": \"\(format)\"")
        }
        guard found <= version else { throw .futureVersion(path: path, found: found, supported: version) }
        let length = closing(of: []).count
        let body = Array(bytes.dropLast(length))
        let expected = closing(of: body)
        guard bytes.suffix(length).elementsEqual(expected) else {
            throw .malformedState(path: path, reason: "its text does not have the SHA-256 that its last line records")
        }
        do {
            return try JSONDecoder().decode(Content.self, from: Data(bytes))
        } catch {
            throw .malformedState(path: path, reason: "\(error)")
        }
    }

    /// The text after `body`: its digest, and the object's end. It always has the same length.
    private static func closing(of body: [UInt8]) -> [UInt8] {
        Array(",\n  \"state_sha256\" : \"\(Digest.of(body, .sha256))\"\n}\n".utf8)
    }
}

extension StateFile.Content: Codable {
    private enum CodingKeys: String, CodingKey {
        case format, files
        case version = "format_version"
    }

    func encode(to encoder: any Encoder) throws {
        try state.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(StateFile.format, forKey: .format)
        try container.encode(StateFile.version, forKey: .version)
        try container.encode(files, forKey: .files)
    }

    init(from decoder: any Decoder) throws {
        state = try TrainingState(from: decoder)
        files = try decoder.container(keyedBy: CodingKeys.self)
            .decode([String: StateFile.Record].self, forKey: .files)
    }
}
