import DTrainEngine
import DTrainModels
import Glibc

// GFLOP/s on one thread of every convolution of some models: forward, weight gradient and input gradient by each way.
//
//     convolution-speed [--samples 16] [--seconds 0.1] [model …]
//
// The rules in ConvolutionPasses and OneDNNRule come from such tables. Best on a machine that does nothing else.

/// The time that this thread has computed: others on the machine do not count.
func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)
}

var models: [String] = []
var (samples, seconds) = (16, 0.1)
var arguments = CommandLine.arguments.dropFirst()
while let argument = arguments.popFirst() {
    switch argument {
    case "--samples": samples = arguments.popFirst().flatMap { Int($0) } ?? samples
    case "--seconds": seconds = arguments.popFirst().flatMap { Double($0) } ?? seconds
    case _ where ModelEntry.all.contains { $0.name == argument }: models.append(argument)
    default:
        print("'\(argument)' is neither a model nor --samples N or --seconds S")
        exit(2)
    }
}
if models.isEmpty {
    models = ["resnet18-cifar", "resnet50", "resnext50_32x4d", "googlenet", "alexnet", "inception-mnist"]
}

let ways: [(name: String, method: ConvolutionMethod, precision: Precision)] = [
    ("direct", .direct, .fp32), ("unfolded", .unfolded, .fp32), ("rule", .byRule, .fp32), ("oneDNN", .oneDNN, .fp32),
    ("bf16", .byRule, .bf16), ("winograd", .winograd, .bf16), ("paired", .paired, .bf16), ("oneDNN", .oneDNN, .bf16),
].filter {
    ($0.method != .oneDNN || OneDNN.version != nil) && ($0.precision == .fp32 || Precision.bf16.obstacle == nil)
}

/// Prints at once, unlike `print` into a pipe.
func say(_ text: String) {
    let line = Array((text + "\n").utf8)
    _ = write(1, line, line.count)
}

func columns(_ values: [Double]) -> String {
    values.map { value in
        let text = String(Int(value.rounded()))
        return String(repeating: " ", count: max(1, 5 - text.count)) + text
    }.joined()
}

say(
    "model; input → outputs, kernel/stride, groups; " + ways.map(\.name).joined(separator: " ")
        + " of each pass; those from bf16 on are in bf16")
for model in models {
    let entry = ModelEntry.all.first { $0.name == model }!
    let graph = try Graph.trace(
        entry.make(ModelOptions(classes: entry.classes)), input: entry.input, TraceOptions(.training))
    var seen: Set<String> = []
    for node in graph.nodes {
        guard let convolution = node.operation as? Convolution else { continue }
        let input = graph.values[node.inputs[0]].shape
        let window = convolution.geometry
        let name =
            "\(input)→\(convolution.outputs) \(window.kernel)/\(window.stride)"
            + (window.padding == 0 ? "" : " p\(window.padding)")
            + (convolution.groups == 1 ? "" : " g\(convolution.groups)")
        guard seen.insert(name).inserted else { continue }
        let speeds = try ways.map { way in
            try ConvolutionSpeed(
                Convolution(
                    outputs: convolution.outputs, geometry: window, groups: convolution.groups, hasBias: false,
                    method: way.method),
                input: input, samples: samples, precision: way.precision, seconds: seconds, clock: now)
        }
        say(
            "\(model) \(name)" + String(repeating: " ", count: max(1, 36 - name.count)) + "|"
                + columns(speeds.map(\.forward)) + " |" + columns(speeds.map(\.weightGradient)) + " |"
                + columns(speeds.map(\.inputGradient)))
    }
}
