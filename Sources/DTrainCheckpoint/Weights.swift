import DTrainTensor

/// Starts a model from a checkpoint's weights.
///
/// Fills `arenas` (the parameters; buffers have an arena of their own) from a safetensors file in PyTorch's names,
/// shapes and order. All names and shapes must match, or an error lists what is missing, unexpected or misshapen and
/// nothing is changed. F16 and BF16 are widened to F32.
public func loadWeights(_ path: String, into arenas: [NamedArena]) throws(CheckpointError) {
    let tensors = try SafetensorsFile(path).tensors()
    do {
        try NamedArena.fill(arenas, from: tensors)
    } catch {
        throw .mismatch(path: path, error)
    }
}

/// Starts a model from given weights (`--init WEIGHTS`): a safetensors file, a PyTorch file, or a checkpoint's directory.
///
/// Fills `targets` from the tensors of their names. What `policy` allows to differ is left alone and reported; anything
/// else that does not fit is an error that lists all that is missing, unexpected or misshapen. On any error, nothing is
/// changed. Needs memory for one more copy of the weights.
@discardableResult
public func loadWeights(
    _ path: String, into targets: [WeightsTarget], policy: WeightsPolicy
) throws(CheckpointError) -> WeightsReport {
    let file = try WeightsFile(path)
    let plan = try WeightsPlan(file, targets, policy)
    var tensors: [NamedTensor] = []
    for (target, name) in plan.loads { tensors.append(target.converted(try file.tensor(name))) }
    for ((target, _), tensor) in zip(plan.loads, tensors) { target.store(tensor) }
    return plan.report
}

/// Which tensor of a file goes where.
private struct WeightsPlan {
    var loads: [(target: WeightsTarget, name: String)] = []
    var report: WeightsReport

    init(_ file: WeightsFile, _ targets: [WeightsTarget], _ policy: WeightsPolicy) throws(CheckpointError) {
        report = WeightsReport(path: file.path)
        var missing: [String] = []
        var unexpected: [String] = []
        var misshapen: [TensorMismatch.Misshapen] = []

        // The file's names by the model's.
        var found: [String: String] = [:]
        for name in file.names where found.updateValue(name, forKey: WeightsPolicy.currentName(of: name)) != nil {
            unexpected.append(name)
        }
        func shape(_ target: WeightsTarget) -> Shape? { found[target.name].flatMap { file.shape(of: $0) } }

        // A layer of the head is taken or left as a whole.
        var left: Set<Substring> = []
        if policy.classesDiffer {
            for target in targets where policy.isHead(target.name) && shape(target) != target.shape {
                left.insert(Self.layer(of: target.name))
                if let extents = shape(target)?.dimensions, let file = extents.first,
                    let model = target.shape.dimensions.first, file != model
                {
                    report.classes = report.classes ?? WeightsReport.Classes(file: file, model: model)
                }
            }
        }

        for target in targets {
            if policy.isHead(target.name) && left.contains(Self.layer(of: target.name)) {
                report.reinitialised.append(target.name)
                continue
            }
            guard let name = found[target.name] else {
                if policy.mayLack(target.name) {
                    report.lacking.append(target.name)
                } else {
                    missing.append(target.name)
                }
                continue
            }
            guard let shape = file.shape(of: name), let type = file.type(of: name)?.readType else {
                // It is there and cannot be read: that error says why.
                _ = try file.tensor(name)
                continue
            }
            if shape != target.shape || !target.takes(type) {
                misshapen.append(
                    TensorMismatch.Misshapen(
                        name: target.name, expected: target.shape, expectedType: target.type, found: shape, type: type))
            }
            loads.append((target, name))
            report.loaded.append(target.name)
        }

        let wanted = Set(targets.map(\.name))
        for name in file.names {
            let current = WeightsPolicy.currentName(of: name)
            if wanted.contains(current) { continue }
            if policy.maySkip(current) { report.skipped.append(name) } else { unexpected.append(name) }
        }
        let mismatch = TensorMismatch(missing: missing, unexpected: unexpected, misshapen: misshapen)
        guard mismatch.isEmpty else { throw .mismatch(path: file.path, mismatch) }
    }

    /// The module that a parameter belongs to.
    private static func layer(of name: String) -> Substring {
        name.lastIndex(of: ".").map { name[..<$0] } ?? name[...]
    }
}
