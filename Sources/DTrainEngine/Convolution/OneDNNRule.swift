#if OneDNN
    /// Which passes oneDNN computes.
    enum OneDNNRule {
        enum Pass { case forward, weightGradient, inputGradient }

        static func takes(_ pass: Pass, _ geometry: ConvolutionGeometry, _ setting: PassSetting) -> Bool {
            switch setting.method {
            case .oneDNN: true
            case .direct, .unfolded: false
            // A kernel for each channel leaves no product of matrices, and bf16 brings nothing.
            case .byRule: !geometry.isDepthwise && (setting.precision == .bf16 || isFaster(pass, geometry))
            }
        }

        /// Whether oneDNN is faster in fp32 than direct and unfolded products: from the tables of `convolution-speed` on a
        /// Zen 4, over the models named there.
        private static func isFaster(_ pass: Pass, _ geometry: ConvolutionGeometry) -> Bool {
            guard geometry.outputs >= 32 else { return false }
            switch pass {
            case .forward: return true
            // Unfolding multiplies a 1×1 convolution's image where it lies; the wider the output, the better.
            case .weightGradient:
                return geometry.inputs >= 16 && !(geometry.isPointwise && geometry.outputs >= 2 * geometry.inputs)
            case .inputGradient: return geometry.inputs >= 16
            }
        }
    }
#endif
