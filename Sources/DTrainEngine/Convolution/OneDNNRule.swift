#if OneDNN
    internal import CKernels
    internal import COneDNNShim

    /// Which passes oneDNN computes.
    enum OneDNNRule {
        static func takes(_ pass: dt_onednn_pass, _ geometry: ConvolutionGeometry, _ setting: PassSetting) -> Bool {
            guard pass == DT_ONEDNN_FORWARD || setting.needsGradients else { return false }
            return switch setting.method {
            case .oneDNN: true
            case .direct, .winograd, .paired, .unfolded: false
            case .byRule:
                !losesToLines(pass, geometry, setting) && suits(pass, geometry, setting)
                    && (setting.precision == .bf16 || isFaster(pass, geometry))
            }
        }

        /// Whether so many threads could share lines that our own way is faster: oneDNN takes whole samples.
        private static func losesToLines(
            _ pass: dt_onednn_pass, _ geometry: ConvolutionGeometry, _ setting: PassSetting
        ) -> Bool {
            let isOursFP32 =
                switch ConvolutionPasses.way(geometry, setting) {
                case .pointwise, .general: true
                case .winograd: !ConvolutionPasses.turnsWinograd(geometry, setting)
                // In small groups ours are as fast.
                case .depthwise, .grouped: false
                }
            // How many of our threads one of oneDNN's is worth, estimated by what they multiply.
            let worth =
                setting.precision == .fp32 || !isOursFP32 ? 1 : dt_bf16_processor() == DT_BF16_AMX ? 8 : 2
            // In bf16 the passes decide alike: images are stored so only where all three take them.
            let isInput = pass == DT_ONEDNN_INPUT_GRADIENT && setting.precision == .fp32
            let lines = isInput ? geometry.window.height : geometry.window.output_height
            return setting.threads > worth * setting.samples && lines > worth
        }

        /// Whether the pass has no way of its own that is better in any case. A kernel for each channel leaves no product of
        /// matrices, and groups of few channels narrow ones. Minimal filtering is better, but for groups, which it must merge.
        private static func suits(
            _ pass: dt_onednn_pass, _ geometry: ConvolutionGeometry, _ setting: PassSetting
        ) -> Bool {
            switch ConvolutionPasses.way(geometry, setting) {
            case .pointwise, .general: true
            case .depthwise: false
            case .grouped:
                setting.precision == .bf16 && geometry.inputsPerGroup == 8 && pass != DT_ONEDNN_WEIGHT_GRADIENT
            case .winograd where geometry.groups > 1:
                pass != DT_ONEDNN_WEIGHT_GRADIENT || setting.precision == .fp32 && geometry.inputsPerGroup >= 16
            case .winograd:
                pass == DT_ONEDNN_INPUT_GRADIENT && !ConvolutionPasses.turnsWinograd(geometry, setting)
            }
        }

        /// Whether oneDNN is faster in fp32 than our own ways: from the tables of `convolution-speed` on a Zen 4, over the
        /// models named there.
        private static func isFaster(_ pass: dt_onednn_pass, _ geometry: ConvolutionGeometry) -> Bool {
            switch pass {
            // A wide output is read as it lies by our own products, and copied by oneDNN.
            case DT_ONEDNN_WEIGHT_GRADIENT where geometry.isPointwise:
                return geometry.inputs < 32 || geometry.outputs < 2 * geometry.inputs
            case DT_ONEDNN_WEIGHT_GRADIENT: return geometry.inputs >= 16 && geometry.outputs >= 32
            case DT_ONEDNN_INPUT_GRADIENT: return geometry.inputs >= 16 || geometry.isPointwise
            default: return geometry.outputs >= 32 || geometry.isPointwise
            }
        }
    }
#endif
