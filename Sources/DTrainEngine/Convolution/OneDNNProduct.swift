#if OneDNN
    internal import CKernels
    internal import COneDNNShim

    /// One of a convolution's three products as oneDNN computes it, a block of samples at a time: owns the primitives of a
    /// whole block and of a single sample.
    ///
    /// Images are read and written where they lie, unless their pixels lie apart or their elements are of another kind than
    /// the factors: then a block is brought into scratch memory first.
    final class OneDNNProduct: @unchecked Sendable {
        let geometry: ConvolutionGeometry
        let blockSamples: Int
        /// Whether the factors are bf16.
        let isBF16: Bool
        private let handle: OpaquePointer

        /// nil where the rule takes another way, where oneDNN has none, or only its slow reference implementation and the
        /// tests do not ask for it.
        init?(_ pass: dt_onednn_pass, _ geometry: ConvolutionGeometry, _ setting: PassSetting) {
            guard OneDNNRule.takes(pass, geometry, setting) else { return nil }
            let window = geometry.window
            self.geometry = geometry
            blockSamples = Self.blockSamples(geometry, setting)
            isBF16 = setting.precision == .bf16
            var description = dt_onednn_description()
            description.pass = pass
            description.is_bf16 = isBF16
            description.has_bf16_result = (pass == DT_ONEDNN_FORWARD ? setting.output : setting.input) == .bf16
            description.has_bias = setting.hasBias && pass == DT_ONEDNN_FORWARD
            description.block_samples = blockSamples
            (description.groups, description.inputs, description.outputs) =
                (geometry.groups, geometry.inputs, geometry.outputs)
            (description.height, description.width) = (window.height, window.width)
            (description.output_height, description.output_width) = (window.output_height, window.output_width)
            (description.kernel_height, description.kernel_width) = (window.kernel_height, window.kernel_width)
            (description.stride_height, description.stride_width) = (window.stride_height, window.stride_width)
            (description.padding_height, description.padding_width) = (window.padding_height, window.padding_width)
            (description.dilation_height, description.dilation_width) =
                (window.dilation_height, window.dilation_width)
            guard let handle = dt_onednn_create(&description, setting.threads) else { return nil }
            self.handle = handle
            // From here on deinit frees it.
            guard setting.method == .oneDNN || !implementation.hasPrefix("ref") else { return nil }
        }

        deinit { dt_onednn_free(handle) }

        /// oneDNN's name for its way.
        var implementation: String { String(cString: dt_onednn_implementation(handle)) }

        /// Samples of a block: as many as keep input and output in half of a 1 MiB L2 cache, or, where the weights are
        /// larger than that, as many as make reading the weights once a block cheap; and so that blocks divide a thread's
        /// share with little left over.
        static func blockSamples(_ geometry: ConvolutionGeometry, _ setting: PassSetting) -> Int {
            let sample = geometry.inputCount + geometry.outputPixels * geometry.outputs
            let most = max(1, max(128 * 1024, 2 * geometry.weightCount) / sample)
            let share = (setting.samples + setting.threads - 1) / setting.threads
            let blocks = (share + most - 1) / most
            return max(1, share / blocks)
        }

        // MARK: Memory, in floats

        var weightCount: Int { ((dt_onednn_weight_bytes(handle) + 3) / 4).wholeLines }
        private var scratchCount: Int { ((dt_onednn_scratch_bytes(handle) + 3) / 4).wholeLines }
        private var blockInputCount: Int { blockSamples * geometry.inputCount }
        private var blockOutputCount: Int { blockSamples * geometry.outputPixels * geometry.outputs }

        /// What each thread lends: oneDNN's scratch memory, then a block of the input's side and one of the output's.
        var threadCount: Int { scratchCount + inputBlockCount + blockOutputCount.wholeLines }
        private var inputBlockCount: Int { blockInputCount.wholeLines }

        func inputBlock(_ scratch: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<Float> {
            scratch + scratchCount
        }
        func outputBlock(_ scratch: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<Float> {
            inputBlock(scratch) + inputBlockCount
        }

        // MARK: Work

        func forEachBlock(of samples: Range<Int>, _ body: (_ samples: Range<Int>) -> Void) {
            var first = samples.lowerBound
            while first < samples.upperBound {
                // There is no primitive for a rest of several samples.
                let count = samples.upperBound - first >= blockSamples ? blockSamples : 1
                body(first..<first + count)
                first += count
            }
        }

        /// A factor as oneDNN takes it: `values` themselves where they are that, otherwise a copy in `block`.
        func factor(
            _ values: Elements, stride: Int, pixels: Int, channels: Int,
            block: UnsafeMutablePointer<Float>
        ) -> UnsafeMutableRawPointer {
            let wanted: Element = isBF16 ? .bf16 : .fp32
            if values.element == wanted, stride == channels { return values.start }
            let copy = Elements(block, wanted)
            if values.element == wanted {
                values.copyRows(
                    stride: stride, to: copy, stride: channels, rows: pixels, count: channels, accumulate: false)
            } else {
                copy.setRows(stride: channels, from: values.floats, stride: stride, rows: pixels, count: channels)
            }
            return UnsafeMutableRawPointer(block)
        }

        func takeWeights(
            _ weights: UnsafePointer<Float>, into packed: UnsafeMutablePointer<Float>, thread: Int,
            scratch: UnsafeMutablePointer<Float>
        ) {
            dt_onednn_take_weights(handle, thread, weights, packed, scratch)
        }

        func giveWeights(
            _ packed: UnsafePointer<Float>, into weights: UnsafeMutablePointer<Float>, thread: Int,
            scratch: UnsafeMutablePointer<Float>
        ) {
            dt_onednn_give_weights(handle, thread, packed, weights, scratch)
        }

        /// The product of `samples` samples, a block or one.
        func run(
            _ samples: Int, input: UnsafeMutableRawPointer, packed: UnsafeMutablePointer<Float>,
            bias: UnsafePointer<Float>? = nil, output: UnsafeMutableRawPointer, thread: Int,
            scratch: UnsafeMutablePointer<Float>
        ) {
            dt_onednn_run(handle, thread, samples, input, packed, bias, output, scratch)
        }
    }
#endif
