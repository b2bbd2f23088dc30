internal import CKernels
internal import DTrainTensor

/// The way back: through the steps the other way, each leaving the gradients of its gates where the gates were; then the
/// gradients of weights and input as products over all steps.
extension RecurrentKernel {
    func backward(_ run: Run) {
        let steps = unrolling(run)
        memory.backwardWeight.pack(
            run, weight(run, 1), stride: hidden, transposed: false,
            into: run.arena + site.backwardWorkspace + memory.backwardPanels)
        let samples = run.part(of: run.rows)
        let sums = biasSums(run, thread: run.thread)
        sums.update(repeating: 0, count: memory.biasSumCount)
        startGradients(run, samples)
        run.meet()

        let reachesInitialStates = site.inputGradients.dropFirst().contains { $0 != nil }
        for index in (0..<steps.stepCount).reversed() {
            steps.forEachPart(of: steps.step(index), samples) { row, part, before in
                retreat(
                    run, row: row, samples: part, from: states(run, before: before, part),
                    goesOn: before != nil || reachesInitialStates)
            }
        }
        giveInitialGradients(run, samples)
        run.meet()
        computeWeightGradients(run, steps)
        computeInputGradient(run, steps)
    }

    /// One step back for neighbouring samples, to the states before it.
    private func retreat(
        _ run: Run, row: Int, samples: Range<Int>, from states: (h: UnsafePointer<Float>, c: UnsafePointer<Float>),
        goesOn: Bool
    ) {
        let (h, c) = states
        let gates = run.arena + site.saved + memory.gates + row * gateStride
        let dy = site.outputGradient.map { UnsafePointer(run.pointer($0) + row * hidden) }
        let workspace = run.arena + site.backwardWorkspace
        let dh = workspace + memory.hiddenGradient + samples.lowerBound * hidden
        let (step, sums) = (step(run, rows: samples.count), biasSums(run, thread: run.thread))
        switch operation.cell {
        case .rnn(let relu):
            dt_rnn_backward(step, gates, run.pointer(site.output) + row * hidden, dy, dh, sums, relu ? 1 : 0)
        case .lstm:
            dt_lstm_backward(
                step, gates, c, run.arena + site.saved + memory.cells + row * hidden, dy, dh,
                workspace + memory.cellGradient + samples.lowerBound * hidden, sums)
        case .gru: dt_gru_backward(step, gates, h, dy, dh, sums)
        }
        guard goesOn else { return }
        memory.backwardWeight.multiply(
            gates + hiddenGates.column, stride: gateStride, rows: samples.count,
            packed: workspace + memory.backwardPanels, accumulate: operation.cell == .gru, into: dh, stride: hidden,
            scratch: backwardScratch(run))
    }

    private func backwardScratch(_ run: Run) -> UnsafeMutablePointer<Float> {
        run.arena + site.backwardWorkspace + memory.backwardScratch + run.thread * memory.product.scratchCount
    }

    private func biasSums(_ run: Run, thread: Int) -> UnsafeMutablePointer<Float> {
        run.arena + site.backwardWorkspace + memory.biasSums + thread * memory.biasSumCount
    }

    private func stateGradient(_ run: Run, _ index: Int) -> UnsafeMutablePointer<Float> {
        run.arena + site.backwardWorkspace + (index == 0 ? memory.hiddenGradient : memory.cellGradient)
    }

    /// What comes back to the final states is where each sample's last step begins.
    private func startGradients(_ run: Run, _ samples: Range<Int>) {
        for index in 0..<operation.cell.stateCount {
            let to = stateGradient(run, index) + samples.lowerBound * hidden
            if let gradient = site.stateGradients[index] {
                to.update(from: run.pointer(gradient) + samples.lowerBound * hidden, count: samples.count * hidden)
            } else {
                to.update(repeating: 0, count: samples.count * hidden)
            }
        }
    }

    private func giveInitialGradients(_ run: Run, _ samples: Range<Int>) {
        for (index, gradient) in site.inputGradients.dropFirst().enumerated() {
            guard let gradient else { continue }
            let offset = samples.lowerBound * hidden
            dt_copy_rows(
                stateGradient(run, index) + offset, samples.count * hidden, run.pointer(gradient.place) + offset,
                samples.count * hidden, 1, samples.count * hidden, gradient.accumulate ? 1 : 0)
        }
    }

    /// Threads share the rows of the weights.
    private func computeWeightGradients(_ run: Run, _ steps: Unrolling) {
        let gates = run.arena + site.saved + memory.gates
        let x = run.pointer(site.inputs[0])
        let parameters = site.parameters
        let scratch = backwardScratch(run)
        if let gradient = run.gradient(of: parameters[0]) {
            for part in inputGates {
                let own = run.part(of: part.count, granularity: 16)
                memory.product.multiply(
                    .yes, .no, m: own.count, n: features, k: steps.rowCount, a: gates + part.column + own.lowerBound,
                    lda: gateStride, b: x, ldb: features, accumulate: parameters[0].accumulate,
                    c: gradient + (part.row + own.lowerBound) * features, ldc: features, scratch: scratch)
            }
        }
        if let gradient = run.gradient(of: parameters[1]) {
            let own = run.part(of: hiddenGates.count, granularity: 16)
            let to = gradient + own.lowerBound * hidden
            if !parameters[1].accumulate { to.update(repeating: 0, count: own.count * hidden) }
            func add(_ row: Int, _ states: UnsafePointer<Float>, _ count: Int) {
                memory.product.multiply(
                    .yes, .no, m: own.count, n: hidden, k: count,
                    a: gates + row * gateStride + hiddenGates.column + own.lowerBound, lda: gateStride, b: states,
                    ldb: hidden, accumulate: true, c: to, ldc: hidden, scratch: scratch)
            }
            let y = run.pointer(site.output)
            steps.forEachRun { first, before, count in add(first, y + before * hidden, count) }
            if hasInitialStates {
                steps.forEachBeginning { first, sample, count in
                    add(first, initialState(run, 0) + sample * hidden, count)
                }
            }
        }
        guard operation.hasBias, run.thread == 0 else { return }
        giveBiasGradient(run, parameters[2], inputGates)
        giveBiasGradient(run, parameters[3], [hiddenGates])
    }

    private func giveBiasGradient(_ run: Run, _ parameter: Site.Parameter, _ parts: [Gates]) {
        guard let gradient = run.gradient(of: parameter) else { return }
        for part in parts {
            for index in 0..<part.count {
                var sum: Float = parameter.accumulate ? gradient[part.row + index] : 0
                for thread in 0..<run.threadCount { sum += biasSums(run, thread: thread)[part.column + index] }
                gradient[part.row + index] = sum
            }
        }
    }

    private func computeInputGradient(_ run: Run, _ steps: Unrolling) {
        guard let gradient = site.inputGradients[0] else { return }
        let gates = run.arena + site.saved + memory.gates
        let dx = run.pointer(gradient.place)
        let rows = run.part(of: steps.rowCount)
        for (index, part) in inputGates.enumerated() {
            memory.product.multiply(
                .no, .no, m: rows.count, n: features, k: part.count,
                a: gates + rows.lowerBound * gateStride + part.column, lda: gateStride,
                b: weight(run, 0) + part.row * features, ldb: features, accumulate: gradient.accumulate || index > 0,
                c: dx + rows.lowerBound * features, ldc: features, scratch: backwardScratch(run))
        }
    }
}
