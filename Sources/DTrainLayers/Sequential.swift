/// Modules called one after the other; their paths are their numbers (`features.0`), as in PyTorch.
public final class Sequential: ModuleContainer {
    let modules: [any Module]

    public init(_ modules: [any Module]) { self.modules = modules }
    public convenience init(_ modules: any Module...) { self.init(modules) }

    public var children: [(name: String, module: any Module)] {
        modules.enumerated().map { (name: "\($0.offset)", module: $0.element) }
    }

    public func callAsFunction(_ x: Value) -> Value { modules.reduce(x) { $1($0) } }
}
