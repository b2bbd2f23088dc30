internal import CKernels

#if OneDNN
    internal import COneDNNShim
#endif

/// The arithmetic of a model's products. Parameters and their gradients, statistics and losses are fp32 in each, and so is
/// evaluation.
public enum Precision: String, Sendable, CaseIterable {
    case fp32
    /// While training, products of linear and of recurrent layers and of convolutions have factors that are rounded to bf16, and
    /// sums in fp32. Convolutions multiply so by oneDNN; without it, or where it gives way to threads that share lines, by minimal
    /// filtering and in some weight gradients. Images between convolutions whose three products all take bf16, and their gradients,
    /// are stored so.
    case bf16

    /// What this processor multiplies bf16 with; nil where it does not.
    public static var bf16Units: String? {
        #if OneDNN
            guard dt_onednn_has_bf16() else { return nil }
        #endif
        return switch dt_bf16_processor() {
        case DT_BF16_AMX: "AMX"
        case DT_BF16_AVX512: "AVX-512-BF16"
        default: nil
        }
    }

    /// Why this processor does not compute so, and what to do about it; nil where it does.
    public var obstacle: (problem: String, remedy: String)? {
        guard self == .bf16, Self.bf16Units == nil else { return nil }
        return (
            "this processor multiplies no bf16 (it has neither AVX-512-BF16 nor AMX)",
            "give --precision fp32, which is faster here, or take a processor that does: AMD since Zen 4, "
                + "Intel Xeon since the 4th generation"
        )
    }

    /// What the processor makes of this precision, for people.
    public var remark: String {
        let layers = Self.bf16Layers(hasOneDNN: OneDNN.version != nil)
        return switch (self, Self.bf16Units) {
        case (.fp32, let units?): "this processor has \(units): --precision bf16 makes \(layers) faster"
        case (.fp32, nil): "no --precision bf16, as \(Precision.bf16.obstacle!.problem)"
        case (.bf16, let units):
            // Some weight gradients are products of vectors in any case.
            "\(layers) multiply bf16 \(units == "AMX" ? "mostly " : "")with \(units ?? "nothing faster than fp32") and sum in fp32"
                + (OneDNN.version == nil ? "; other convolutions need oneDNN, which this dtrain was built without" : "")
        }
    }

    /// What multiplies bf16 in a build with or without oneDNN, for people.
    package static func bf16Layers(hasOneDNN: Bool) -> String {
        hasOneDNN
            ? "large convolutions, linear and recurrent layers"
            : "large linear and recurrent layers, convolutions by minimal filtering and some weight gradients of others"
    }
}

/// The library of convolutions, in a build that has it (the package trait OneDNN).
public enum OneDNN {
    /// Its version, such as 2.6.3; nil in a build without it.
    public static var version: String? {
        #if OneDNN
            var (major, minor, patch): (Int32, Int32, Int32) = (0, 0, 0)
            dt_onednn_version(&major, &minor, &patch)
            return "\(major).\(minor).\(patch)"
        #else
            return nil
        #endif
    }

    #if OneDNN
        /// From now on `allocationCount` tells how many of the calling thread's heap allocations, which `counter` counts, were
        /// made inside oneDNN.
        package static func countAllocations(with counter: @escaping @convention(c) () -> Int) {
            dt_onednn_count_allocations(counter)
        }
        package static var allocationCount: Int { dt_onednn_allocations() }
    #else
        package static func countAllocations(with counter: @escaping @convention(c) () -> Int) {}
        package static var allocationCount: Int { 0 }
    #endif
}
