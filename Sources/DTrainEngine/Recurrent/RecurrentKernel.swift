internal import CKernels
internal import DTrainTensor

/// One unrolling for all cells: the input's side of all steps is one matrix product, the hidden side one a step, and
/// everything else of a step one fused kernel. Threads share samples, so a thread's steps wait for nobody.
final class RecurrentKernel: Kernel {
    /// Neighbouring gates that a product makes: their column in a row of stored gates, and their row in the weights.
    private struct Gates {
        let column: Int
        let row: Int
        let count: Int
    }

    private let operation: Recurrent
    private let site: Site
    private let memory: RecurrentMemory
    private let features: Int
    private let hidden: Int
    /// Floats from one row of stored gates to the next.
    private let stored: Int
    private let inputGates: [Gates]
    /// All gates as weight_hh has them lie next to each other in a row of stored gates.
    private let hiddenGates: Gates
    /// The largest panel of a product.
    private let panel = dt_tile_panel()

    init(_ operation: Recurrent, _ site: Site) {
        self.operation = operation
        self.site = site
        memory = RecurrentMemory(operation, site.extents)
        features = site.inputs[0].channels
        hidden = operation.hidden
        stored = memory.gateStride
        let count = operation.cell.gateCount * hidden
        if operation.cell == .gru {
            // A row is n r z m: weight_ih makes r z and n, weight_hh r z m.
            inputGates = [
                Gates(column: hidden, row: 0, count: 2 * hidden), Gates(column: 0, row: 2 * hidden, count: hidden),
            ]
            hiddenGates = Gates(column: hidden, row: 0, count: count)
        } else {
            inputGates = [Gates(column: 0, row: 0, count: count)]
            hiddenGates = inputGates[0]
        }
        GEMM.prepare
    }

    private func unrolling(_ run: Run) -> Unrolling {
        Unrolling(
            site.output.rows == .steps ? run.sequences : nil, samples: run.rows, reverses: operation.reverses)
    }

    private func weight(_ run: Run, _ index: Int) -> UnsafePointer<Float> {
        UnsafePointer(run.parameters + site.parameters[index].range.lowerBound)
    }

    private func step(_ run: Run, rows: Int) -> dt_recurrent_step {
        dt_recurrent_step(
            rows: rows, hidden: hidden, gate_stride: stored, input_bias: operation.hasBias ? weight(run, 2) : nil,
            hidden_bias: operation.hasBias ? weight(run, 3) : nil)
    }

    // MARK: Forward

    func forward(_ run: Run) {
        let steps = unrolling(run)
        let (x, gates) = (run.pointer(site.inputs[0]), run.arena + site.saved + memory.gates)
        packForward(run)
        let rows = run.part(of: steps.rowCount)
        for part in inputGates {
            GEMM.multiply(
                .no, .yes, m: rows.count, n: part.count, k: features, a: x + rows.lowerBound * features, lda: features,
                b: weight(run, 0) + part.row * features, ldb: features, beta: 0,
                c: gates + rows.lowerBound * stored + part.column, ldc: stored)
        }
        let samples = run.part(of: run.rows)
        setInitialStates(run, samples)
        run.meet()

        for index in 0..<steps.stepCount {
            steps.forEachPart(of: steps.step(index), samples) { row, part, before in
                advance(
                    run, row: row, count: part.count, from: states(run, before: before, part),
                    hasState: before != nil || hasInitialStates)
            }
        }
        keepFinalStates(run, samples, steps)
    }

    /// Whether states before the first step may be other than zero.
    private var hasInitialStates: Bool { site.inputs.count > 1 || operation.carriesState }

    /// h, and c of an LSTM, before a step of `samples`: those of the rows from `before` on, or the first ones.
    private func states(
        _ run: Run, before: Int?, _ samples: Range<Int>
    ) -> (h: UnsafePointer<Float>, c: UnsafePointer<Float>) {
        if let before {
            let cells = run.arena + site.saved + memory.cells
            return (UnsafePointer(run.pointer(site.output) + before * hidden), UnsafePointer(cells + before * hidden))
        }
        let offset = samples.lowerBound * hidden
        return (UnsafePointer(initialState(run, 0) + offset), UnsafePointer(initialState(run, 1) + offset))
    }

    /// One step of `count` neighbouring rows, from the states before it.
    private func advance(
        _ run: Run, row: Int, count: Int, from states: (h: UnsafePointer<Float>, c: UnsafePointer<Float>),
        hasState: Bool
    ) {
        let (h, c) = states
        let gates = run.arena + site.saved + memory.gates + row * stored
        let y = run.pointer(site.output) + row * hidden
        let panels = run.arena + site.forwardWorkspace
        let isGRU = operation.cell == .gru
        if hasState {
            multiply(
                h, stride: hidden, depth: hidden, panels + memory.panels,
                columns: (isGRU ? 2 : operation.cell.gateCount) * hidden, into: gates + hiddenGates.column,
                stride: stored, rows: count, mode: DT_TILE_ADD)
            if isGRU {
                multiply(
                    h, stride: hidden, depth: hidden, panels + memory.apartPanels, columns: hidden,
                    into: gates + 3 * hidden, stride: stored, rows: count, mode: DT_TILE_SET)
            }
        } else if isGRU {
            for row in 0..<count { (gates + row * stored + 3 * hidden).update(repeating: 0, count: hidden) }
        }
        switch operation.cell {
        case .rnn(let relu): dt_rnn_forward(step(run, rows: count), gates, y, relu ? 1 : 0)
        case .lstm:
            dt_lstm_forward(step(run, rows: count), gates, c, run.arena + site.saved + memory.cells + row * hidden, y)
        case .gru: dt_gru_forward(step(run, rows: count), gates, h, y)
        }
    }

    /// c (+)= a · B for a B in panels.
    private func multiply(
        _ a: UnsafePointer<Float>, stride: Int, depth: Int, _ panels: UnsafePointer<Float>, columns: Int,
        into c: UnsafeMutablePointer<Float>, stride cStride: Int, rows: Int, mode: dt_tile_mode
    ) {
        var sum = dt_tile_sum(count: (depth, 1, 1), a_step: (1, 0, 0), b_step: (panel, 0, 0))
        for first in Swift.stride(from: 0, to: columns, by: panel) {
            dt_tile_multiply(
                a, stride, panels + first * depth, &sum, rows, min(panel, columns - first), mode, nil, c + first,
                cStride)
        }
    }

    /// This thread's part of laying weight_hhᵀ out in panels.
    private func packForward(_ run: Run) {
        let (weight, to) = (weight(run, 1), run.arena + site.forwardWorkspace)
        func pack(firstRow: Int, columns: Int, to: UnsafeMutablePointer<Float>) {
            let part = run.part(of: columns, granularity: panel)
            dt_pack_panels(
                weight + (firstRow + part.lowerBound) * hidden, hidden, part.count, 1, hidden, panel,
                to + part.lowerBound * hidden)
        }
        if operation.cell == .gru {
            pack(firstRow: 0, columns: 2 * hidden, to: to + memory.panels)
            pack(firstRow: 2 * hidden, columns: hidden, to: to + memory.apartPanels)
        } else {
            pack(firstRow: 0, columns: hiddenGates.count, to: to + memory.panels)
        }
    }

    /// The places of h and c among initial states, and where they are kept.
    private func initialState(_ run: Run, _ index: Int) -> UnsafeMutablePointer<Float> {
        run.arena + site.saved + (index == 0 ? memory.initialHidden : memory.initialCell)
    }

    private func setInitialStates(_ run: Run, _ samples: Range<Int>) {
        for index in 0..<operation.cell.stateCount {
            let kept = initialState(run, index) + samples.lowerBound * hidden
            if site.inputs.count > 1 {
                let given = run.pointer(site.inputs[1 + index]) + samples.lowerBound * hidden
                kept.update(from: given, count: samples.count * hidden)
            } else if operation.carriesState, let sequences = run.sequences {
                for (row, sample) in samples.enumerated() {
                    (kept + row * hidden).update(
                        from: carried(run, sequences, sample) + index * hidden, count: hidden)
                }
            } else {
                kept.update(repeating: 0, count: samples.count * hidden)
            }
        }
    }

    private func carried(_ run: Run, _ sequences: RunSequences, _ sample: Int) -> UnsafeMutablePointer<Float> {
        run.carriedState!.row(sequences.positions[sample]) + site.carriedState
    }

    private func keepFinalStates(_ run: Run, _ samples: Range<Int>, _ steps: Unrolling) {
        for index in 0..<operation.cell.stateCount {
            let last = index == 0 ? run.pointer(site.output) : run.arena + site.saved + memory.cells
            let output = run.pointer(site.states[index])
            for sample in samples {
                let state =
                    steps.lastRow(of: sample).map { last + $0 * hidden } ?? initialState(run, index) + sample * hidden
                (output + sample * hidden).update(from: state, count: hidden)
                if operation.carriesState, let sequences = run.sequences {
                    (carried(run, sequences, sample) + index * hidden).update(from: state, count: hidden)
                }
            }
        }
    }

    // MARK: Backward

    func backward(_ run: Run) {
        let steps = unrolling(run)
        packBackward(run)
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
        let gates = run.arena + site.saved + memory.gates + row * stored
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
        multiply(
            gates + hiddenGates.column, stride: stored, depth: hiddenGates.count, workspace + memory.backwardPanels,
            columns: hidden, into: dh, stride: hidden, rows: samples.count,
            mode: operation.cell == .gru ? DT_TILE_ADD : DT_TILE_SET)
    }

    /// This thread's part of laying weight_hh out in panels.
    private func packBackward(_ run: Run) {
        let part = run.part(of: hidden, granularity: panel)
        dt_pack_panels(
            weight(run, 1) + part.lowerBound, hiddenGates.count, part.count, hidden, 1, panel,
            run.arena + site.backwardWorkspace + memory.backwardPanels + part.lowerBound * hiddenGates.count)
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
        if let gradient = run.gradient(of: parameters[0]) {
            for part in inputGates {
                let own = run.part(of: part.count, granularity: 16)
                GEMM.multiply(
                    .yes, .no, m: own.count, n: features, k: steps.rowCount, a: gates + part.column + own.lowerBound,
                    lda: stored, b: x, ldb: features, beta: parameters[0].accumulate ? 1 : 0,
                    c: gradient + (part.row + own.lowerBound) * features, ldc: features)
            }
        }
        if let gradient = run.gradient(of: parameters[1]) {
            let own = run.part(of: hiddenGates.count, granularity: 16)
            let to = gradient + own.lowerBound * hidden
            if !parameters[1].accumulate { to.update(repeating: 0, count: own.count * hidden) }
            func add(_ row: Int, _ states: UnsafePointer<Float>, _ count: Int) {
                GEMM.multiply(
                    .yes, .no, m: own.count, n: hidden, k: count,
                    a: gates + row * stored + hiddenGates.column + own.lowerBound, lda: stored, b: states,
                    ldb: hidden, beta: 1, c: to, ldc: hidden)
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
            GEMM.multiply(
                .no, .no, m: rows.count, n: features, k: part.count,
                a: gates + rows.lowerBound * stored + part.column, lda: stored,
                b: weight(run, 0) + part.row * features, ldb: features,
                beta: gradient.accumulate || index > 0 ? 1 : 0, c: dx + rows.lowerBound * features, ldc: features)
        }
    }
}
