/// How `--augment` is written, and how it is read.
extension Augmentation: CustomStringConvertible {
    /// How each is written; parts in brackets may be left out.
    public static let forms = [
        "preset", "resize:SIDE or resize:HEIGHTxWIDTH", "center-crop:SIDE", "random-crop:SIDE[:PADDING]",
        "random-resized-crop:SIDE", "flip", "rotation:DEGREES", "color-jitter:BRIGHTNESS:CONTRAST:SATURATION[:HUE]",
        "cutout:SIDE", "trivial-augment", "permute-pixels", "mixup[:ALPHA]", "cutmix[:ALPHA]",
    ]

    /// Every valid name.
    public static let names = forms.map { form in String(form.prefix { $0.isLetter || $0 == "-" }) }

    /// The text that reads back to this, all arguments spelled out.
    public var description: String {
        switch self {
        case .preset: "preset"
        case .resize(let side): "resize:\(side)"
        case .resizeExactly(let height, let width): "resize:\(height)x\(width)"
        case .centerCrop(let side): "center-crop:\(side)"
        case .randomCrop(let side, let padding): "random-crop:\(side):\(padding)"
        case .randomResizedCrop(let side): "random-resized-crop:\(side)"
        case .flip: "flip"
        case .rotation(let degrees): "rotation:\(degrees)"
        case .colorJitter(let brightness, let contrast, let saturation, let hue):
            "color-jitter:\(brightness):\(contrast):\(saturation):\(hue)"
        case .cutout(let side): "cutout:\(side)"
        case .trivialAugment: "trivial-augment"
        case .permutePixels: "permute-pixels"
        case .mixup(let alpha): "mixup:\(alpha)"
        case .cutmix(let alpha): "cutmix:\(alpha)"
        }
    }

    /// The list as `parse` takes it: `none` where it is empty.
    public static func text(of list: [Augmentation]) -> String {
        list.isEmpty ? "none" : list.map(\.description).joined(separator: ",")
    }

    /// Reads augmentations separated by commas, arguments after colons; an empty text and `none` mean none.
    ///
    /// Throws `DataUsageError` for an unknown name, for arguments that are not as `forms` says, and for a name given
    /// twice.
    public static func parse(_ text: String) throws(DataUsageError) -> [Augmentation] {
        if text.isEmpty || text == "none" { return [] }
        var list: [Augmentation] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            var trimmed = part.drop { $0 == " " }
            while trimmed.last == " " { trimmed.removeLast() }
            let augmentation = try parseOne(String(trimmed))
            guard !list.contains(where: { $0.name == augmentation.name }) else {
                throw .repeatedAugmentation(name: augmentation.name)
            }
            list.append(augmentation)
        }
        return list
    }

    private static func parseOne(_ text: String) throws(DataUsageError) -> Augmentation {
        let words = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        let name = words.first ?? ""
        guard let index = names.firstIndex(of: name) else { throw .unknownAugmentation(name: name) }
        let arguments = AugmentationArguments(text: text, form: forms[index], words: Array(words.dropFirst()))
        switch name {
        case "preset": return try arguments.none(.preset)
        case "resize":
            try arguments.count(1...1)
            let sides = arguments.words[0].split(separator: "x", omittingEmptySubsequences: false).map(String.init)
            guard sides.count == 2 else { return .resize(side: try arguments.side(arguments.words[0])) }
            return .resizeExactly(height: try arguments.side(sides[0]), width: try arguments.side(sides[1]))
        case "center-crop":
            try arguments.count(1...1)
            return .centerCrop(side: try arguments.side(arguments.words[0]))
        case "random-crop":
            try arguments.count(1...2)
            return .randomCrop(
                side: try arguments.side(arguments.words[0]),
                padding: arguments.words.count < 2 ? 0 : try arguments.padding(arguments.words[1]))
        case "random-resized-crop":
            try arguments.count(1...1)
            return .randomResizedCrop(side: try arguments.side(arguments.words[0]))
        case "flip": return try arguments.none(.flip)
        case "rotation":
            try arguments.count(1...1)
            return .rotation(degrees: try arguments.number(0, in: 0...180, "an angle of 0 to 180 degrees"))
        case "color-jitter":
            try arguments.count(3...4)
            func strength(_ index: Int) throws(DataUsageError) -> Float {
                try arguments.number(index, in: 0...100, "a strength of 0 to 100")
            }
            return .colorJitter(
                brightness: try strength(0), contrast: try strength(1), saturation: try strength(2),
                hue: arguments.words.count < 4 ? 0 : try arguments.number(3, in: 0...0.5, "a hue of 0 to 0.5"))
        case "cutout":
            try arguments.count(1...1)
            return .cutout(side: try arguments.side(arguments.words[0]))
        case "trivial-augment": return try arguments.none(.trivialAugment)
        case "permute-pixels": return try arguments.none(.permutePixels)
        case "mixup": return .mixup(alpha: try arguments.alpha(0.2))
        case "cutmix": return .cutmix(alpha: try arguments.alpha(1))
        default: throw .unknownAugmentation(name: name)
        }
    }
}

/// What follows the name of an augmentation.
private struct AugmentationArguments {
    let text: String
    let form: String
    let words: [String]

    func malformed(_ reason: String) -> DataUsageError {
        .malformedAugmentation(text: text, form: form, reason: reason)
    }

    func count(_ valid: ClosedRange<Int>) throws(DataUsageError) {
        if words.count < valid.lowerBound {
            throw malformed(words.isEmpty ? "arguments are missing" : "it has too few arguments")
        }
        if words.count > valid.upperBound {
            throw malformed(valid.upperBound == 0 ? "it takes no arguments" : "it has too many arguments")
        }
    }

    func none(_ augmentation: Augmentation) throws(DataUsageError) -> Augmentation {
        try count(0...0)
        return augmentation
    }

    /// The longest side of an image that a transform makes.
    private static let longestSide = 4096

    func side(_ word: String) throws(DataUsageError) -> Int {
        guard let side = Int(word), side >= 1, side <= Self.longestSide else {
            throw malformed("'\(word)' is not a number of pixels from 1 to \(Self.longestSide)")
        }
        return side
    }

    func padding(_ word: String) throws(DataUsageError) -> Int {
        guard let padding = Int(word), padding >= 0, padding <= Self.longestSide else {
            throw malformed("'\(word)' is not a number of pixels from 0 to \(Self.longestSide)")
        }
        return padding
    }

    func number(_ index: Int, in range: ClosedRange<Float>, _ meaning: String) throws(DataUsageError) -> Float {
        guard let number = Float(words[index]), range.contains(number) else {
            throw malformed("'\(words[index])' is not \(meaning)")
        }
        return number
    }

    func alpha(_ usual: Float) throws(DataUsageError) -> Float {
        try count(0...1)
        return words.isEmpty ? usual : try number(0, in: 0.01...100, "a number of 0.01 to 100")
    }
}
