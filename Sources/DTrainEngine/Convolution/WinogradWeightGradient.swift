internal import CKernels
internal import DTrainTensor

/// dW by minimal filtering: dZ's tiles are the kernels. Sums stay transformed until the last sample.
///
/// They are 36 / kernel² times as large as the weights, so they go through the core as seldom as can be: a block's transformed
/// values wait until the next block comes, and the last block's products are formed a few outputs and inputs at a time, in the
/// cache, and transformed back there. Where one block is all there is, there are no sums but those.
struct WinogradWeightGradient: WeightGradientPass {
    let takesBF16 = true
    var multipliesBF16: Bool { tiles.factors == .bf16 }
    private let tiles: WinogradTiles
    private let groups: ChannelGroups

    init(_ geometry: ConvolutionGeometry, _ precision: Precision) {
        groups = ChannelGroups(geometry)
        tiles = WinogradTiles(groups, window: geometry.window, precision: precision)
    }

    private var planes: Int { Int(DT_WINOGRAD_PLANES) }
    private var inputs: Int { groups.count * groups.inputs }
    private var outputs: Int { groups.count * groups.outputs }
    private var inputStride: Int { WeightPanels.rowStride(inputs) }
    private var outputStride: Int { WeightPanels.rowStride(outputs) }
    /// Floats of a row of the sums: an output's weights from its group's inputs.
    private var sumStride: Int { WeightPanels.rowStride(groups.inputs) }
    /// Floats of one plane of the sums.
    private var sumPlane: Int { outputs * sumStride }
    private var positions: Int { tiles.kernel * tiles.kernel }
    /// Rows of a block's transformed values: tiles, or pairs of them.
    private var rowsPerBlock: Int { tiles.factors.floatCount(tiles.tilesPerBlock) }
    private var inputPlane: Int { rowsPerBlock * inputStride }
    private var outputPlane: Int { rowsPerBlock * outputStride }
    private var form: dt_winograd_form { tiles.factors == .bf16 ? DT_WINOGRAD_PAIRS : DT_WINOGRAD_FLOATS }

    /// Outputs and inputs whose products are formed together in the end, and the floats of a row of them: with the transformed
    /// inputs of a block they stay in the L2 cache. A group whose weights are spread out afterwards comes as a whole.
    private var part: (outputs: Int, inputs: Int, stride: Int) {
        let inputs = groups.isPlain ? min(groups.inputs, tiles.factors == .bf16 ? 128 : 64) : groups.inputs
        return (12, inputs, WeightPanels.rowStride(inputs))
    }

    /// What a thread has: whether there are sums, the tiles of a block that waits, and where everything lies.
    private struct Own {
        let state: UnsafeMutablePointer<Float>
        let sums: UnsafeMutablePointer<Float>
        let v: UnsafeMutablePointer<Float>
        let z: UnsafeMutablePointer<Float>
        let part: UnsafeMutablePointer<Float>
        let dense: UnsafeMutablePointer<Float>

        var hasSums: Bool {
            get { state[0] != 0 }
            nonmutating set { state[0] = newValue ? 1 : 0 }
        }
        var waitingTiles: Int {
            get { Int(state[1]) }
            nonmutating set { state[1] = Float(newValue) }
        }
    }
    private static let stateCount = 16

    private func own(_ start: UnsafeMutablePointer<Float>) -> Own {
        let sums = start + Self.stateCount
        let v = sums + planes * sumPlane
        let z = v + planes * inputPlane
        let part = z + planes * outputPlane
        return Own(
            state: start, sums: sums, v: v, z: z, part: part,
            dense: part + planes * self.part.outputs * self.part.stride)
    }

    /// The thread's state and sums; a block's transformed inputs and output gradients; some outputs' and inputs' sums; the
    /// gradient of an output's weights.
    var memory: PassMemory {
        PassMemory(
            perThread: Self.stateCount + planes * (sumPlane + inputPlane + outputPlane + part.outputs * part.stride)
                + positions * groups.inputs)
    }
    var blockSamples: Int { tiles.blockSamples }
    var lineGroup: Int { tiles.side }

    func begin(_ scratch: PassScratch) {
        let own = own(scratch.own)
        own.hasSums = false
        own.waitingTiles = 0
    }

    func add(_ x: Elements, _ dz: Elements, stride: Int, lines: Range<Int>, scratch: PassScratch) {
        let window = tiles.window
        let own = own(scratch.own)
        tiles.rows(ofLines: lines).forEachBlock(of: tiles.blockRows) { rows in
            if own.waitingTiles > 0 { addWaiting(own) }
            tiles.transformInput(
                x, pixelStride: inputs, channels: inputs, rows: rows, form: form, into: own.v, rowStride: inputStride,
                plane: inputPlane)
            for row in rows {
                let place = tiles.place(ofRow: row)
                dt_winograd_output_gradient(
                    tiles.kernel,
                    dz + (place.sample * window.output_height + place.line) * window.output_width * stride,
                    place.lines, window.output_width, outputs, stride, tiles.tilesPerRow, form,
                    (row - rows.lowerBound) * tiles.tilesPerRow, own.z, outputStride, outputPlane)
            }
            own.waitingTiles = rows.count * tiles.tilesPerRow
        }
    }

    /// Adds the products of the block that waits to the sums.
    private func addWaiting(_ own: Own) {
        for plane in 0..<planes {
            for group in 0..<groups.count {
                multiply(
                    own, plane, outputs: group * groups.outputs..<(group + 1) * groups.outputs,
                    inputs: group * groups.inputs..<(group + 1) * groups.inputs, accumulate: own.hasSums,
                    into: own.sums + plane * sumPlane + group * groups.outputs * sumStride, stride: sumStride)
            }
        }
        own.hasSums = true
    }

    /// The products of the block that waits in one plane: outputs × inputs.
    private func multiply(
        _ own: Own, _ plane: Int, outputs: Range<Int>, inputs: Range<Int>, accumulate: Bool,
        into sums: UnsafeMutablePointer<Float>, stride: Int
    ) {
        let z = own.z + plane * outputPlane + outputs.lowerBound
        let v = own.v + plane * inputPlane + inputs.lowerBound
        let tileCount = own.waitingTiles
        if tiles.factors == .bf16 {
            for first in Swift.stride(from: 0, to: inputs.count, by: dt_bf16_panel()) {
                dt_bf16_multiply_pairs(
                    z, 1, outputStride, v + first, inputStride, tiles.factors.floatCount(tileCount), outputs.count,
                    min(dt_bf16_panel(), inputs.count - first), accumulate, sums + first, stride)
            }
            return
        }
        var sum = dt_tile_sum()
        sum.count = (tileCount, 1, 1)
        sum.a_step = (outputStride, 0, 0)
        sum.b_step = (inputStride, 0, 0)
        for first in Swift.stride(from: 0, to: inputs.count, by: dt_tile_panel()) {
            dt_tile_multiply(
                z, 1, v + first, &sum, outputs.count, min(dt_tile_panel(), inputs.count - first),
                accumulate ? DT_TILE_ADD_PADDED : DT_TILE_SET, nil, sums + first, stride)
        }
    }

    func finish(
        _ run: Run, active: Int, into gradient: UnsafeMutablePointer<Float>, accumulate: Bool, scratch: PassScratch
    ) {
        let mine = run.part(of: outputs)
        let own = own(scratch.own)
        for group in 0..<groups.count {
            let outputs = mine.clamped(to: group * groups.outputs..<(group + 1) * groups.outputs)
            for firstInput in stride(from: 0, to: groups.inputs, by: part.inputs) {
                let inputs = firstInput..<min(firstInput + part.inputs, groups.inputs)
                for first in stride(from: outputs.lowerBound, to: outputs.upperBound, by: part.outputs) {
                    let rows = first..<min(first + part.outputs, outputs.upperBound)
                    collect(scratch, threads: active, group, outputs: rows, inputs: inputs, into: own.part)
                    for output in rows {
                        let weights = groups.isPlain ? gradient + output * positions * groups.inputs : own.dense
                        dt_winograd_weight_gradient(
                            tiles.kernel, own.part + (output - first) * part.stride, part.outputs * part.stride,
                            inputs.count, groups.inputs, groups.isPlain && accumulate ? 1 : 0, weights + firstInput)
                        if !groups.isPlain {
                            groups.setGradient(
                                ofOutput: output, from: own.dense, positions: positions, into: gradient,
                                accumulate: accumulate)
                        }
                    }
                }
            }
        }
    }

    /// What all threads' sums and waiting blocks have for some outputs and some inputs of a group, in the threads' order.
    private func collect(
        _ scratch: PassScratch, threads: Int, _ group: Int, outputs: Range<Int>, inputs: Range<Int>,
        into part: UnsafeMutablePointer<Float>
    ) {
        let stride = self.part.stride
        for plane in 0..<planes {
            let target = part + plane * self.part.outputs * stride
            var isFirst = true
            for thread in 0..<threads {
                let own = own(scratch.own(of: thread))
                if own.hasSums {
                    dt_copy_rows(
                        own.sums + plane * sumPlane + outputs.lowerBound * sumStride + inputs.lowerBound, sumStride,
                        target,
                        stride, outputs.count, inputs.count, isFirst ? 0 : 1)
                    isFirst = false
                }
                let first = group * groups.inputs
                multiply(
                    own, plane, outputs: outputs, inputs: inputs.shifted(by: first),
                    accumulate: !isFirst, into: target, stride: stride)
                isFirst = false
            }
        }
    }
}
