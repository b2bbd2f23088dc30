import DTrainONNX

extension Onnx_GraphProto {
    /// A line for each node: `name = Operator(inputs) attribute=value …`. Constants among the inputs are shown as they are,
    /// weights by name.
    var lines: [String] {
        let constants = Dictionary(uniqueKeysWithValues: initializer.map { ($0.name, $0) })
        return node.map { node in
            let inputs = node.input.map { name in
                name.contains("/") ? constants[name].map { $0.elements } ?? name : name
            }
            let attributes = node.attribute.map { " \($0.name)=\($0.text)" }
            return "\(node.output[0]) = \(node.opType)(\(inputs.joined(separator: ", ")))\(attributes.joined())"
        }
    }
}

extension Onnx_AttributeProto {
    fileprivate var text: String {
        switch type {
        case .int: hasI ? "\(i)" : "missing"
        case .float: hasF ? "\(f)" : "missing"
        case .ints: "\(ints)"
        default: "of unknown type"
        }
    }
}

extension Onnx_TensorProto {
    /// `[0, 24]`; the elements of a tensor of numbers with their shape: `[1.0, 1.0]:2`.
    fileprivate var elements: String {
        let shape = dims.map(String.init).joined(separator: "×")
        return dataType == Onnx_TensorProto.DataType.int64.rawValue
            ? "\(values(of: Int64.self))" : "\(values(of: Float.self)):\(shape)"
    }

    func values<Element: BitwiseCopyable>(of type: Element.Type) -> [Element] {
        let size = MemoryLayout<Element>.size
        return (0..<rawData.count / size).map { index in
            rawData.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: index * size, as: Element.self) }
        }
    }
}
