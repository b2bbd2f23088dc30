internal import CKernels
internal import DTrainTensor

/// The way back: through the steps the other way, each leaving the gradients of its gates where the gates were; and, after
/// some steps, their share of the gradients of weights and input as products over their rows.
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
        let inputWeight = startedGradient(run, site.parameters[0])
        if let embedding = operation.embedding { clearTokenGradients(run, embedding) }
        let hiddenWeight = startedGradient(run, site.parameters[1])
        run.meet()

        let reachesInitialStates = site.inputGradients.dropFirst().contains { $0 != nil }
        steps.forEachStretch(ofRows: stretchRows, backwards: true) { indices, rows in
            for index in indices.reversed() {
                steps.forEachPart(of: steps.step(index), samples) { row, part, before in
                    retreat(
                        run, row: row, samples: part, from: states(run, before: before, part),
                        goesOn: before != nil || reachesInitialStates)
                }
            }
            run.meet()
            if let gradient = hiddenWeight { addHiddenWeightGradient(run, gradient, steps, indices) }
            if operation.embedding != nil {
                addTokenGradients(run, rows)
            } else {
                if let gradient = inputWeight { addInputWeightGradient(run, gradient, rows) }
                computeInputGradient(run, rows)
            }
        }
        if let embedding = operation.embedding { giveTokenGradients(run, embedding, inputWeight) }
        giveInitialGradients(run, samples)
        guard operation.hasBias, run.thread == 0 else { return }
        giveBiasGradient(run, site.parameters[2], inputGates)
        giveBiasGradient(run, site.parameters[3], [hiddenGates])
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

    /// The gradient of a weight, to be added to: zeros where nobody has written before. nil where it is frozen.
    private func startedGradient(_ run: Run, _ parameter: Site.Parameter) -> UnsafeMutablePointer<Float>? {
        guard let gradient = run.gradient(of: parameter) else { return nil }
        if !parameter.accumulate {
            let own = run.part(of: parameter.range.count, granularity: 16)
            (gradient + own.lowerBound).update(repeating: 0, count: own.count)
        }
        return gradient
    }

    /// Threads share the rows of the weights: this one's, of those that make some gates.
    private func ownRows(_ run: Run, of gates: Gates) -> Range<Int> {
        let own = run.part(of: gates.count, granularity: 16)
        return own.shifted(by: gates.row)
    }

    /// Adds the share of some rows to the gradient of weight_ih.
    private func addInputWeightGradient(
        _ run: Run, _ gradient: UnsafeMutablePointer<Float>, _ rows: Range<Int>
    ) {
        let gates = run.arena + site.saved + memory.gates + rows.lowerBound * gateStride
        let x = run.pointer(site.inputs[0]) + rows.lowerBound * features
        for part in inputGates {
            let own = ownRows(run, of: part)
            memory.product.multiply(
                .yes, .no, m: own.count, n: features, k: rows.count,
                a: gates + part.column + own.lowerBound - part.row, lda: gateStride, b: x, ldb: features,
                accumulate: true, c: gradient + own.lowerBound * features, ldc: features,
                scratch: backwardScratch(run))
        }
    }

    /// The same for weight_hh and the rows of some steps.
    private func addHiddenWeightGradient(
        _ run: Run, _ gradient: UnsafeMutablePointer<Float>, _ steps: Unrolling, _ indices: Range<Int>
    ) {
        let own = ownRows(run, of: hiddenGates)
        let to = gradient + own.lowerBound * hidden
        let gates = run.arena + site.saved + memory.gates + hiddenGates.column + own.lowerBound
        func add(_ row: Int, _ states: UnsafePointer<Float>, _ count: Int) {
            memory.product.multiply(
                .yes, .no, m: own.count, n: hidden, k: count, a: gates + row * gateStride, lda: gateStride, b: states,
                ldb: hidden, accumulate: true, c: to, ldc: hidden, scratch: backwardScratch(run))
        }
        let y = run.pointer(site.output)
        steps.forEachRun(of: indices) { first, before, count in add(first, y + before * hidden, count) }
        if hasInitialStates {
            steps.forEachBeginning(of: indices) { first, sample, count in
                add(first, initialState(run, 0) + sample * hidden, count)
            }
        }
    }

    private func tokenGradients(_ run: Run) -> UnsafeMutablePointer<Float> {
        run.arena + site.backwardWorkspace + memory.tokenGradients
    }

    private func clearTokenGradients(_ run: Run, _ embedding: Embedding) {
        let own = run.part(of: embedding.vocabulary)
        (tokenGradients(run) + own.lowerBound * gateStride).update(repeating: 0, count: own.count * gateStride)
    }

    /// Adds the gates' gradients of some rows to those of their tokens. Threads share the gates, so that no two add to one number.
    private func addTokenGradients(_ run: Run, _ rows: Range<Int>) {
        let gates = run.arena + site.saved + memory.gates
        let sums = tokenGradients(run)
        for part in inputGates {
            let own = run.part(of: part.count, granularity: 16)
            let column = part.column + own.lowerBound
            for row in rows {
                dt_add_to(
                    sums + Int(run.tokens[row]) * gateStride + column, gates + row * gateStride + column, own.count)
            }
        }
    }

    /// The gradients of weight_ih and of the embedding's table, from those of the tokens.
    private func giveTokenGradients(
        _ run: Run, _ embedding: Embedding, _ inputWeight: UnsafeMutablePointer<Float>?
    ) {
        run.meet()
        let sums = tokenGradients(run)
        if let gradient = inputWeight {
            for part in inputGates {
                let own = ownRows(run, of: part)
                memory.product.multiply(
                    .yes, .no, m: own.count, n: features, k: embedding.vocabulary,
                    a: sums + part.column + own.lowerBound - part.row, lda: gateStride,
                    b: weight(run, operation.tableIndex), ldb: features, accumulate: true,
                    c: gradient + own.lowerBound * features, ldc: features, scratch: backwardScratch(run))
            }
        }
        let table = site.parameters[operation.tableIndex]
        guard let gradient = run.gradient(of: table) else { return }
        let own = run.part(of: embedding.vocabulary)
        func give(_ tokens: Range<Int>) {
            for (index, part) in inputGates.enumerated() {
                memory.product.multiply(
                    .no, .no, m: tokens.count, n: features, k: part.count,
                    a: sums + tokens.lowerBound * gateStride + part.column, lda: gateStride,
                    b: weight(run, 0) + part.row * features, ldb: features, accumulate: table.accumulate || index > 0,
                    c: gradient + tokens.lowerBound * features, ldc: features, scratch: backwardScratch(run))
            }
        }
        guard let padding = embedding.paddingIndex, own.contains(padding) else { return give(own) }
        give(own.lowerBound..<padding)
        give(padding + 1..<own.upperBound)
        if !table.accumulate { (gradient + padding * features).update(repeating: 0, count: features) }
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

    /// Threads share the rows.
    private func computeInputGradient(_ run: Run, _ rows: Range<Int>) {
        guard let gradient = site.inputGradients[0] else { return }
        let own = run.part(of: rows.count)
        let first = rows.lowerBound + own.lowerBound
        let gates = run.arena + site.saved + memory.gates + first * gateStride
        let dx = run.pointer(gradient.place) + first * features
        for (index, part) in inputGates.enumerated() {
            memory.product.multiply(
                .no, .no, m: own.count, n: features, k: part.count, a: gates + part.column, lda: gateStride,
                b: weight(run, 0) + part.row * features, ldb: features, accumulate: gradient.accumulate || index > 0,
                c: dx, ldc: features, scratch: backwardScratch(run))
        }
    }
}
