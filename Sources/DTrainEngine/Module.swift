/// A model, or a part of one, as a description.
///
/// A module holds hyper-parameters and other modules as properties; calling it inside a trace appends operations to the
/// graph. It holds no numbers. Its dotted path (`layer1.0.conv1`) comes from the property names that lead to it and
/// names its parameters everywhere; identity is sharing: one object called twice shares its weights.
public protocol Module: AnyObject {
    func callAsFunction(_ x: Value) -> Value
}

/// A module whose children are named by itself, not by its properties: `Sequential` numbers them.
public protocol ModuleContainer: Module {
    var children: [(name: String, module: any Module)] { get }
}

/// What a graph is traced for: dropout, for one, exists in training alone.
public enum Mode: String, Sendable {
    case training, evaluation
}

/// The modules below `root` by identity, each with the dotted path on which a walk over properties (arrays,
/// optionals, tuples and structures among them; superclasses too) meets it first.
func modulePaths(of root: any Module) -> [ObjectIdentifier: String] {
    var paths: [ObjectIdentifier: String] = [:]

    func visit(_ module: any Module, _ path: String) {
        guard paths[ObjectIdentifier(module)] == nil else { return }
        paths[ObjectIdentifier(module)] = path
        if let container = module as? any ModuleContainer {
            for child in container.children { visit(child.module, join(path, child.name)) }
            return
        }
        var mirror: Mirror? = Mirror(reflecting: module)
        while let current = mirror {
            for child in current.children { descend(child.value, join(path, child.label ?? "")) }
            mirror = current.superclassMirror
        }
    }

    func descend(_ value: Any, _ path: String) {
        if let module = value as? any Module { return visit(module, path) }
        let mirror = Mirror(reflecting: value)
        switch mirror.displayStyle {
        case .optional:
            for child in mirror.children { descend(child.value, path) }
        case .collection, .tuple, .struct:
            for (index, child) in mirror.children.enumerated() {
                descend(
                    child.value, join(path, mirror.displayStyle == .collection ? "\(index)" : child.label ?? "\(index)")
                )
            }
        default: break
        }
    }

    func join(_ path: String, _ name: String) -> String { path.isEmpty ? name : path + "." + name }
    visit(root, "")
    return paths
}
