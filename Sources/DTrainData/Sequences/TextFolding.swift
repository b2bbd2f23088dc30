import Foundation

/// What is done to text so that a small vocabulary is enough.
public enum TextFolding: String, Hashable, Sendable, Codable {
    /// Letters lose their accents (canonical decomposition, Unicode Standard Annex 15, without combining marks); of what
    /// remains, ASCII letters, space, apostrophe, hyphen and `. , ;` are kept, as PyTorch's tutorial on surnames does.
    case ascii

    /// What one character becomes: mostly itself, or nothing.
    public func fold(_ character: Unicode.Scalar) -> [Unicode.Scalar] {
        if character.isASCII { return Self.keeps(character) ? [character] : [] }
        return String(character).decomposedStringWithCanonicalMapping.unicodeScalars.filter(Self.keeps)
    }

    private static func keeps(_ character: Unicode.Scalar) -> Bool {
        switch character {
        case "a"..."z", "A"..."Z", " ", "'", "-", ".", ",", ";": true
        default: false
        }
    }
}
