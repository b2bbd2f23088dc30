internal import CKernels
internal import DTrainTensor

/// One unrolling for all cells: the input's side of some hundred rows of steps is one matrix product, the hidden side one a
/// step, and everything else of a step one fused kernel. Threads share samples, so a thread's steps wait for nobody.
final class RecurrentKernel: Kernel {
    /// Neighbouring gates that a product makes: their column in a row of stored gates, and their row in the weights.
    struct Gates {
        let column: Int
        let row: Int
        let count: Int
    }

    let operation: Recurrent
    let site: Site
    let memory: RecurrentMemory
    let features: Int
    let hidden: Int
    /// Floats from one row of stored gates to the next.
    let gateStride: Int
    let inputGates: [Gates]
    /// All gates as weight_hh has them lie next to each other in a row of stored gates.
    let hiddenGates: Gates
    /// Products over all steps are computed for some steps at a time, of about so many rows: their gates are then still in
    /// the cache when the steps need them, or have made their gradients.
    let stretchRows = 512

    init(_ operation: Recurrent, _ site: Site) {
        self.operation = operation
        self.site = site
        memory = RecurrentMemory(operation, site.extents)
        features = operation.features(site.inputs[0].shape)
        hidden = operation.hidden
        gateStride = memory.gateStride
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

    func unrolling(_ run: Run) -> Unrolling {
        Unrolling(
            site.output.rows == .steps ? run.sequences : nil, samples: run.rows, reverses: operation.reverses)
    }

    func weight(_ run: Run, _ index: Int) -> UnsafePointer<Float> {
        UnsafePointer(run.parameters + site.parameters[index].range.lowerBound)
    }

    func step(_ run: Run, rows: Int) -> dt_recurrent_step {
        dt_recurrent_step(
            rows: rows, hidden: hidden, gate_stride: gateStride, input_bias: operation.hasBias ? weight(run, 2) : nil,
            hidden_bias: operation.hasBias ? weight(run, 3) : nil)
    }

    func forward(_ run: Run) {
        let steps = unrolling(run)
        packForward(run)
        if let embedding = operation.embedding { computeTokenGates(run, embedding) }
        let samples = run.part(of: run.rows)
        setInitialStates(run, samples)
        steps.forEachStretch(ofRows: stretchRows) { indices, rows in
            if operation.embedding == nil {
                computeInputSide(run, rows)
                run.meet()
            }
            for index in indices {
                steps.forEachPart(of: steps.step(index), samples) { row, part, before in
                    advance(
                        run, row: row, count: part.count, from: states(run, before: before, part),
                        hasState: before != nil || hasInitialStates)
                }
            }
        }
        keepFinalStates(run, samples, steps)
    }

    /// Threads share the rows.
    private func computeInputSide(_ run: Run, _ rows: Range<Int>) {
        let gates = run.arena + site.saved + memory.gates
        let own = run.part(of: rows.count)
        let first = rows.lowerBound + own.lowerBound
        let x = run.pointer(site.inputs[0])
        for part in inputGates {
            memory.product.multiply(
                .no, .yes, m: own.count, n: part.count, k: features, a: x + first * features, lda: features,
                b: weight(run, 0) + part.row * features, ldb: features, accumulate: false,
                c: gates + first * gateStride + part.column, ldc: gateStride, scratch: forwardScratch(run))
        }
    }

    /// The input's side of every token; threads share the tokens.
    private func computeTokenGates(_ run: Run, _ embedding: Embedding) {
        let own = run.part(of: embedding.vocabulary)
        for part in inputGates {
            memory.product.multiply(
                .no, .yes, m: own.count, n: part.count, k: features,
                a: weight(run, operation.tableIndex) + own.lowerBound * features, lda: features,
                b: weight(run, 0) + part.row * features, ldb: features, accumulate: false,
                c: tokenGates(run) + own.lowerBound * gateStride + part.column, ldc: gateStride,
                scratch: forwardScratch(run))
        }
        run.meet()
    }

    /// The input's side of some rows is that of their tokens: copied just before their step, it is still in the cache there.
    private func copyTokenGates(_ run: Run, row: Int, count: Int) {
        let (gates, tokenGates) = (run.arena + site.saved + memory.gates, tokenGates(run))
        for row in row..<row + count {
            for part in inputGates {
                (gates + row * gateStride + part.column).update(
                    from: tokenGates + Int(run.tokens[row]) * gateStride + part.column, count: part.count)
            }
        }
    }

    private func tokenGates(_ run: Run) -> UnsafeMutablePointer<Float> {
        run.arena + site.forwardWorkspace + memory.tokenGates
    }

    /// Whether states before the first step may be other than zero.
    var hasInitialStates: Bool { site.inputs.count > 1 || operation.carriesState }

    /// h, and c of an LSTM, before a step of `samples`: those of the rows from `before` on, or the first ones.
    func states(
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
        let gates = run.arena + site.saved + memory.gates + row * gateStride
        let y = run.pointer(site.output) + row * hidden
        let workspace = run.arena + site.forwardWorkspace
        let scratch = forwardScratch(run)
        if operation.embedding != nil { copyTokenGates(run, row: row, count: count) }
        if hasState {
            memory.forwardWeight.multiply(
                h, stride: hidden, rows: count, packed: workspace + memory.forwardPanels, accumulate: true,
                into: gates + hiddenGates.column, stride: gateStride, scratch: scratch)
            // Of a GRU's m there is no input's side.
            memory.apartWeight.multiply(
                h, stride: hidden, rows: count, packed: workspace + memory.apartPanels, accumulate: false,
                into: gates + 3 * hidden, stride: gateStride, scratch: scratch)
        } else if operation.cell == .gru {
            for row in 0..<count { (gates + row * gateStride + 3 * hidden).update(repeating: 0, count: hidden) }
        }
        switch operation.cell {
        case .rnn(let relu): dt_rnn_forward(step(run, rows: count), gates, y, relu ? 1 : 0)
        case .lstm:
            dt_lstm_forward(step(run, rows: count), gates, c, run.arena + site.saved + memory.cells + row * hidden, y)
        case .gru: dt_gru_forward(step(run, rows: count), gates, h, y)
        }
    }

    private func forwardScratch(_ run: Run) -> UnsafeMutablePointer<Float> {
        run.arena + site.forwardWorkspace + memory.forwardScratch + run.thread * memory.product.scratchCount
    }

    /// This thread's part of laying weight_hhᵀ out in panels.
    private func packForward(_ run: Run) {
        let (weight, workspace) = (weight(run, 1), run.arena + site.forwardWorkspace)
        memory.forwardWeight.pack(
            run, weight, stride: hidden, transposed: true, into: workspace + memory.forwardPanels)
        memory.apartWeight.pack(
            run, weight + memory.forwardWeight.columns * hidden, stride: hidden, transposed: true,
            into: workspace + memory.apartPanels)
    }

    /// The places of h and c among initial states, and where they are kept.
    func initialState(_ run: Run, _ index: Int) -> UnsafeMutablePointer<Float> {
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
}
