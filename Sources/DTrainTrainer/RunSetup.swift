import DTrainCollectives
import DTrainData
import DTrainEvents

/// What a run is made of.
struct RunSetup {
    let configuration: RunConfiguration
    let model: TrainingModel
    let data: DatasetPair
    let queue: CommunicationQueue
    let threads: Int
    let files: RunFiles
    let events: any EventSink
    let stop: StopFlag

    func run() throws -> TrainerOutcome { fatalError("in progress") }
}
