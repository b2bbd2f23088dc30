extension Unicode.Scalar {
    /// Whether a screen shows nothing of it, or moves instead: line ends, directions, joiners, what has no meaning.
    private var isInvisible: Bool {
        switch properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: true
        default: false
        }
    }

    private var isMark: Bool {
        switch properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .spacingMark: true
        default: false
        }
    }

    /// As errors show it: `'é' (U+00E9)`; one that cannot be seen by itself by its number alone.
    package var shown: String {
        let digits = String(value, radix: 16, uppercase: true)
        let number = "U+" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
        return isInvisible || isMark ? number : "'\(self)' (\(number))"
    }

    /// As part of a line: itself, or for one that cannot be seen `\n`, `\r`, `\t` or `\u{2028}`.
    package var escaped: String {
        switch self {
        case "\n": "\\n"
        case "\r": "\\r"
        case "\t": "\\t"
        default: isInvisible ? "\\u{\(String(value, radix: 16, uppercase: true))}" : String(self)
        }
    }
}

extension String {
    /// On one line, whatever it holds: class names, say, which may be characters.
    package var escaped: String { unicodeScalars.map(\.escaped).joined() }
}
