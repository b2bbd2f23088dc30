#if OneDNN
    /// Which passes oneDNN computes.
    enum OneDNNRule {
        enum Pass { case forward, weightGradient, inputGradient }

        static func takes(_ pass: Pass, _ geometry: ConvolutionGeometry, _ setting: PassSetting) -> Bool {
            switch setting.method {
            case .oneDNN: true
            case .direct, .unfolded: false
            case .byRule: setting.precision == .bf16
            }
        }
    }
#endif
