#if OneDNN
    internal import CKernels
    internal import COneDNNShim

    /// What the two passes that read the weights share: all threads use the weights in the order that oneDNN chose.
    private protocol OneDNNPass: ConvolutionPass {
        var product: OneDNNProduct { get }
    }

    extension OneDNNPass {
        var memory: PassMemory { PassMemory(shared: product.weightCount, perThread: product.threadCount) }
        var blockSamples: Int { product.blockSamples }
        var takesBF16: Bool { product.isBF16 }
        var multipliesBF16: Bool { product.isBF16 }

        func prepare(_ run: Run, weights: UnsafePointer<Float>, scratch: PassScratch) {
            guard run.thread == 0 else { return }
            product.takeWeights(weights, into: scratch.shared, thread: 0, scratch: scratch.own)
        }
    }

    /// Y = X ⋆ W by oneDNN.
    struct OneDNNForward: ForwardPass, OneDNNPass {
        let addsBias: Bool
        var lineGroup: Int { product.geometry.window.output_height }
        fileprivate let product: OneDNNProduct

        /// nil where the rule takes another way, or oneDNN has none that is worth it.
        init?(_ geometry: ConvolutionGeometry, _ setting: PassSetting) {
            guard let product = OneDNNProduct(DT_ONEDNN_FORWARD, geometry, setting)
            else { return nil }
            self.product = product
            addsBias = setting.hasBias
        }

        func forward(
            _ x: Elements, weights: UnsafePointer<Float>, bias: UnsafePointer<Float>?, into y: Elements, stride: Int,
            accumulate: Bool, lines: Range<Int>, scratch: PassScratch,
            finish: (_ lines: Range<Int>) -> Void
        ) {
            let geometry = product.geometry
            let height = geometry.window.output_height
            let isInPlace = stride == geometry.outputs && !accumulate
            product.forEachBlock(of: lines.divided(by: height)) { samples in
                let pixels = samples.count * geometry.outputPixels
                let target = y + samples.lowerBound * geometry.outputPixels * stride
                let result = isInPlace ? target : Elements(product.outputBlock(scratch.own), y.element)
                product.run(
                    samples.count, input: product.image(x, samples, scratch.own), packed: scratch.shared, bias: bias,
                    output: result.start, thread: scratch.thread, scratch: scratch.own)
                if !isInPlace {
                    result.copyRows(
                        stride: geometry.outputs, to: target, stride: stride, rows: pixels, count: geometry.outputs,
                        accumulate: accumulate)
                }
                finish(samples.scaled(by: height))
            }
        }
    }

    /// dX = dZ ⋆ W transposed by oneDNN.
    struct OneDNNInputGradient: InputGradientPass, OneDNNPass {
        var lineGroup: Int { product.geometry.window.height }
        fileprivate let product: OneDNNProduct

        /// nil where the rule takes another way, or oneDNN has none that is worth it.
        init?(_ geometry: ConvolutionGeometry, _ setting: PassSetting) {
            guard let product = OneDNNProduct(DT_ONEDNN_INPUT_GRADIENT, geometry, setting)
            else { return nil }
            self.product = product
        }

        func propagate(
            _ dz: Elements, stride: Int, weights: UnsafePointer<Float>, into dx: Elements, accumulate: Bool,
            lines: Range<Int>, scratch: PassScratch
        ) {
            product.forEachBlock(of: lines.divided(by: product.geometry.window.height)) { samples in
                let target = dx + samples.lowerBound * product.geometry.inputCount
                let result = accumulate ? Elements(product.inputBlock(scratch.own), dx.element) : target
                product.run(
                    samples.count, input: result.start, packed: scratch.shared,
                    output: product.outputGradient(dz, stride: stride, samples, scratch.own), thread: scratch.thread,
                    scratch: scratch.own)
                let count = samples.count * product.geometry.inputCount
                if accumulate {
                    result.copyRows(stride: count, to: target, stride: count, rows: 1, count: count, accumulate: true)
                }
            }
        }
    }

    /// dW by oneDNN, in its own order until all threads' sums are added.
    struct OneDNNWeightGradient: WeightGradientPass {
        private let product: OneDNNProduct

        /// nil where the rule takes another way, or oneDNN has none that is worth it.
        init?(_ geometry: ConvolutionGeometry, _ setting: PassSetting) {
            guard let product = OneDNNProduct(DT_ONEDNN_WEIGHT_GRADIENT, geometry, setting)
            else { return nil }
            self.product = product
        }

        /// A thread's memory: whether there is a sum yet, the sum, a block's share of it, and what the product needs.
        var memory: PassMemory { PassMemory(perThread: 16 + sumCount + shareCount + product.threadCount) }
        var blockSamples: Int { product.blockSamples }
        var lineGroup: Int { product.geometry.window.output_height }
        var takesBF16: Bool { product.isBF16 }
        var multipliesBF16: Bool { product.isBF16 }
        private var sumCount: Int { product.weightCount }
        /// In the end the share's memory takes the gradient in dtrain's order.
        private var shareCount: Int {
            max(product.weightCount, product.geometry.weightCount.wholeLines)
        }
        private func sum(_ own: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<Float> { own + 16 }
        private func share(_ own: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<Float> { sum(own) + sumCount }
        private func rest(_ own: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<Float> {
            share(own) + shareCount
        }

        /// oneDNN sets its result, so the first block clears the sum.
        func begin(_ scratch: PassScratch) { scratch.own[0] = 0 }

        func add(
            _ x: Elements, _ dz: Elements, stride: Int, lines: Range<Int>, scratch: PassScratch
        ) {
            let own = scratch.own
            product.forEachBlock(of: lines.divided(by: product.geometry.window.output_height)) { samples in
                let isFirst = own[0] == 0
                own[0] = 1
                let result = isFirst ? sum(own) : share(own)
                product.run(
                    samples.count, input: product.image(x, samples, rest(own)), packed: result,
                    output: product.outputGradient(dz, stride: stride, samples, rest(own)), thread: scratch.thread,
                    scratch: rest(own))
                if !isFirst { dt_add_to(sum(own), result, product.weightCount) }
            }
        }

        func finish(
            _ run: Run, active: Int, into gradient: UnsafeMutablePointer<Float>, accumulate: Bool, scratch: PassScratch
        ) {
            let total = sum(scratch.own(of: 0))
            let part = run.part(of: product.weightCount, granularity: 16)
            for thread in 1..<max(active, 1) {
                dt_add_to(
                    total + part.lowerBound, sum(scratch.own(of: thread)) + part.lowerBound, part.count)
            }
            run.meet()
            guard run.thread == 0 else { return }
            let own = scratch.own
            let target = accumulate ? share(own) : gradient
            product.giveWeights(total, into: target, thread: 0, scratch: rest(own))
            if product.isBF16 { product.geometry.clearIdlePositions(target) }
            if accumulate { dt_add_to(gradient, target, product.geometry.weightCount) }
        }
    }

    extension OneDNNProduct {
        /// The samples' images as a factor.
        fileprivate func image(
            _ x: Elements, _ samples: Range<Int>, _ scratch: UnsafeMutablePointer<Float>
        ) -> UnsafeMutableRawPointer {
            factor(
                x + samples.lowerBound * geometry.inputCount, stride: geometry.inputs,
                pixels: samples.count * geometry.window.height * geometry.window.width, channels: geometry.inputs,
                block: inputBlock(scratch))
        }

        /// The gradients of the samples' outputs as a factor.
        fileprivate func outputGradient(
            _ dz: Elements, stride: Int, _ samples: Range<Int>, _ scratch: UnsafeMutablePointer<Float>
        ) -> UnsafeMutableRawPointer {
            factor(
                dz + samples.lowerBound * geometry.outputPixels * stride, stride: stride,
                pixels: samples.count * geometry.outputPixels, channels: geometry.outputs,
                block: outputBlock(scratch))
        }
    }

    extension ConvolutionGeometry {
        /// Sets the weights' gradient to zero at those positions of the kernel that meet padding alone, in every window: oneDNN 2.6
        /// leaves there, in bf16, what its scratch memory held.
        fileprivate func clearIdlePositions(_ gradient: UnsafeMutablePointer<Float>) {
            func isIdle(_ offset: Int, _ size: Int, _ outputs: Int, _ stride: Int) -> Bool {
                !(0..<outputs).contains { (0..<size).contains($0 * stride + offset) }
            }
            let w = window
            for row in 0..<w.kernel_height {
                let isIdleRow = isIdle(
                    row * w.dilation_height - w.padding_height, w.height, w.output_height, w.stride_height)
                for column in 0..<w.kernel_width
                where isIdleRow
                    || isIdle(column * w.dilation_width - w.padding_width, w.width, w.output_width, w.stride_width)
                {
                    for output in 0..<outputs {
                        let position = (output * w.kernel_height + row) * w.kernel_width + column
                        (gradient + position * inputsPerGroup).update(repeating: 0, count: inputsPerGroup)
                    }
                }
            }
        }
    }
#endif
