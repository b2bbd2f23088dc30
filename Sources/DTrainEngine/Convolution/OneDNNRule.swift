#if OneDNN
    internal import COneDNNShim

    /// Which passes oneDNN computes.
    enum OneDNNRule {
        static func takes(_ pass: dt_onednn_pass, _ geometry: ConvolutionGeometry, _ setting: PassSetting) -> Bool {
            switch setting.method {
            case .oneDNN: true
            case .direct, .winograd, .unfolded: false
            // A kernel for each channel leaves no product of matrices, and bf16 brings nothing.
            case .byRule:
                !geometry.isDepthwise && (setting.precision == .bf16 || isFaster(pass, geometry))
            }
        }

        /// Whether oneDNN is faster in fp32 than our own ways: from the tables of `convolution-speed` on a Zen 4, over the
        /// models named there.
        private static func isFaster(_ pass: dt_onednn_pass, _ geometry: ConvolutionGeometry) -> Bool {
            guard ConvolutionPasses.way(geometry, .byRule) == .general, geometry.outputs >= 32 else { return false }
            return pass == DT_ONEDNN_FORWARD || geometry.inputs >= 16
        }
    }
#endif
