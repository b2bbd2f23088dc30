#if OneDNN
    internal import COneDNNShim

    /// Which passes oneDNN computes.
    enum OneDNNRule {
        static func takes(_ pass: dt_onednn_pass, _ geometry: ConvolutionGeometry, _ setting: PassSetting) -> Bool {
            switch setting.method {
            case .oneDNN: true
            case .direct, .winograd, .unfolded: false
            // A kernel for each channel leaves no product of matrices, and minimal filtering in fp32 is as fast as bf16.
            case .byRule where setting.precision == .bf16: suits(geometry, setting)
            case .byRule: suits(geometry, setting) && isFaster(pass, geometry)
            }
        }

        /// Whether the geometry has no way of its own that is better in any case.
        private static func suits(_ geometry: ConvolutionGeometry, _ setting: PassSetting) -> Bool {
            [.pointwise, .general].contains(ConvolutionPasses.way(geometry, setting))
        }

        /// Whether oneDNN is faster in fp32 than our own ways: from the tables of `convolution-speed` on a Zen 4, over the
        /// models named there.
        private static func isFaster(_ pass: dt_onednn_pass, _ geometry: ConvolutionGeometry) -> Bool {
            guard geometry.outputs >= 32 else { return false }
            switch pass {
            // A wide output is read as it lies by our own products, and copied by oneDNN.
            case DT_ONEDNN_WEIGHT_GRADIENT:
                return geometry.inputs >= 16 && !(geometry.isPointwise && geometry.outputs >= 2 * geometry.inputs)
            case DT_ONEDNN_INPUT_GRADIENT: return geometry.inputs >= 16
            default: return true
            }
        }
    }
#endif
