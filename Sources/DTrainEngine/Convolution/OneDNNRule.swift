#if OneDNN
    internal import COneDNNShim

    /// Which passes oneDNN computes.
    enum OneDNNRule {
        static func takes(_ pass: dt_onednn_pass, _ geometry: ConvolutionGeometry, _ setting: PassSetting) -> Bool {
            switch setting.method {
            case .oneDNN: true
            case .direct, .winograd, .unfolded: false
            case .byRule: setting.precision == .bf16
            }
        }
    }
#endif
