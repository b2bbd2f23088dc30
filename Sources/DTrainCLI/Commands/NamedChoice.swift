import DTrainTensor

/// The choice that an option names. Throws where it names none.
func namedChoice<Choice: RawRepresentable & CaseIterable>(
    _ option: String, _ name: String, of type: Choice.Type
) throws -> Choice where Choice.RawValue == String {
    if let choice = Choice(rawValue: name) { return choice }
    let names = Choice.allCases.map(\.rawValue)
    throw UsageError(
        "--\(option) '\(name)' is not valid\(suggestion(for: name, among: names)): give one of "
            + "\(names.joined(separator: ", ")).")
}
