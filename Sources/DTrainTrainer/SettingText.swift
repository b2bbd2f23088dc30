import DTrainData

/// A setting's text on its way to a value.
struct SettingText {
    enum Range { case fraction, nonNegative, positive, atLeastOne }

    let setting: RunSetting
    let text: String
    let source: String

    func invalid(_ valid: String, names: [String] = []) -> ConfigurationError {
        .invalidValue(
            setting: setting.rawValue, value: text, source: source == RunSettings.commandLine ? nil : source,
            valid: valid, names: names)
    }

    /// The parts between commas; none for an empty text.
    var list: [SettingText] {
        text.split(separator: ",").map { part in
            SettingText(setting: setting, text: part.filter { $0 != " " }, source: source)
        }
    }

    func name(_ valid: String) throws -> String {
        guard !text.isEmpty else { throw invalid(valid) }
        return text
    }

    /// The default limit keeps products of two settings, such as the steps of all epochs, in range.
    func whole(atLeast minimum: Int, atMost maximum: Int = 1_000_000_000) throws -> Int {
        guard let value = Int(text), value >= minimum else { throw invalid("a whole number of at least \(minimum)") }
        guard value <= maximum else { throw invalid("a whole number of at most \(maximum)") }
        return value
    }

    func number(_ range: Range) throws -> Double {
        let value = Double(text).flatMap { $0.isFinite ? $0 : nil }
        switch range {
        case .fraction:
            guard let value, value >= 0, value < 1 else { throw invalid("a number of at least 0 and below 1") }
            return value
        case .nonNegative:
            guard let value, value >= 0 else { throw invalid("a number of at least 0") }
            return value
        case .positive:
            guard let value, value > 0 else { throw invalid("a number above 0") }
            return value
        case .atLeastOne:
            guard let value, value >= 1 else { throw invalid("a number of at least 1") }
            return value
        }
    }

    func flag() throws -> Bool {
        switch text.lowercased() {
        case "true", "yes", "on": return true
        case "false", "no", "off": return false
        default: throw invalid("true or false")
        }
    }

    func augmentation() throws -> Augmentation {
        let names = Augmentation.names
        do {
            if let augmentation = try Augmentation.parse(text).first { return augmentation }
        } catch {
            if case .malformedAugmentation(_, let form, let reason) = error { throw invalid("\(form); \(reason)") }
        }
        throw invalid("some of " + names.joined(separator: ", "), names: names)
    }

    func choice<Choice: RawRepresentable & CaseIterable>(_ type: Choice.Type) throws -> Choice
    where Choice.RawValue == String {
        if let choice = Choice(rawValue: text) { return choice }
        let names = Choice.allCases.map(\.rawValue)
        throw invalid(names.count == 1 ? names[0] : "one of " + names.joined(separator: ", "), names: names)
    }
}
