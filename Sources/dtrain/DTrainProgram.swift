import DTrainCLI

/// The `dtrain` command: dtrain's own models and nothing else.
@main struct DTrainProgram: TrainingProgram {}
