import Testing

/// Wrong usage: one message that names what was wrong and what is right, and exit code 2.
@Suite struct UsageTests {
    static let mistakes: [(arguments: String, message: String)] = [
        (
            "trian",
            "unknown subcommand 'trian' (did you mean train?); "
                + "valid: train, evaluate, predict, generate, models, data, export, bench, doctor. See 'dtrain --help'."
        ),
        ("--modl mlp", "Unknown option '--modl'. Did you mean '--model'?\nSee 'dtrain train --help'."),
        ("train extra", "Unexpected argument 'extra'\nSee 'dtrain train --help'."),
        ("train --workers", "Missing value for '--workers <n>'\nSee 'dtrain train --help'."),
        (
            "train --model mpl",
            "unknown model 'mpl' (did you mean mlp?); 'dtrain models' lists all."
        ),
        (
            "train --data mnits:x",
            "unknown data set 'mnits' in 'mnits:x' (did you mean mnist?); "
                + "valid: mnist-sample, mnist:DIR, fashion-mnist:DIR, cifar10:DIR, cifar100:DIR, images:DIR, packed:FILE, "
                + "only:CLASSES@SPEC, hello, names-sample, names:DIR, names-ascii:DIR, text-sample, text:FILE, "
                + "synthetic:HxWxC,CLASSES"
        ),
        (
            "train --data synthetic:28x28,10",
            "cannot understand the data set 'synthetic:28x28,10': '28x28' is no height, width and number of channels; "
                + "write it as synthetic:HxWxC,CLASSES, for example synthetic:64x64x3,10"
        ),
        (
            "train --sequence-length 32",
            "--sequence-length has no effect: it is for texts and mnist-sample is none; leave it out."
        ),
        (
            "train --data names-sample --image-size 32",
            "--image-size has no effect: it is for images and names-sample holds sequences; leave it out."
        ),
        (
            "train --data names-sample --skip-broken",
            "--skip-broken has no effect: it is for images and names-sample holds sequences; leave it out."
        ),
        (
            "train --data text-sample --no-shuffle",
            "--no-shuffle has no effect: a text is always read in order; leave it out."
        ),
        (
            "train --data text-sample --model cnn-mnist",
            "cnn-mnist reads images and text-sample holds sequences: choose other --data, or another --model."
        ),
        (
            "train --model char-rnn --data text-sample --batch-size 32 --sequence-length 3000",
            "a sequence length of 3000 is too long: the training part of the embedded text has 89992 characters, which 32 streams "
                + "(the batch size) share; choose --sequence-length 2812 or less, or a smaller batch"
        ),
        (
            "data pack text-sample --output x",
            "data pack works on images, and text-sample holds sequences; give data of images"
        ),
        (
            "bench --model char-rnn --data text-sample --augment flip",
            "--augment works on images, and text-sample holds sequences; give data of images"
        ),
        ("train --lr fast", "--lr 'fast' is not valid: give a number of at least 0."),
        ("train --lr -0.1", "--lr '-0.1' is not valid: give a number of at least 0."),
        ("train --momentum 1", "--momentum '1' is not valid: give a number of at least 0 and below 1."),
        ("train --batch-size 0", "--batch-size '0' is not valid: give a whole number of at least 1."),
        (
            "train --epochs 9223372036854775807",
            "--epochs '9223372036854775807' is not valid: give a whole number of at most 1000000000."
        ),
        ("train --threads 2000", "--threads '2000' is not valid: give a whole number of at most 1024."),
        ("train --loader-threads 2000", "--loader-threads '2000' is not valid: give a whole number of at most 1024."),
        (
            "train --trace t --trace-steps 1001",
            "--trace-steps '1001' is not valid: give a whole number of at most 1000."
        ),
        ("train --trace-steps 5", "--trace-steps has no effect: no trace is written; give --trace."),
        ("bench --threads -1", "--threads '-1' is not valid: give a whole number from 1 to 1024."),
        ("bench --loader-threads 2000", "--loader-threads '2000' is not valid: give a whole number from 1 to 1024."),
        ("bench --augment flip", "--augment has no effect without --data; leave it out."),
        (
            "bench --augment flip --loader-threads 2",
            "--augment and --loader-threads have no effect without --data; leave them out."
        ),
        ("evaluate x --threads 2000", "--threads '2000' is not valid: give a whole number from 1 to 1024."),
        (
            "train --model mlp --dropout 0.5",
            "--dropout has no effect: mlp has no dropout layer; leave it out."
        ),
        ("train --epochs 1.5", "--epochs '1.5' is not valid: give a whole number of at least 1."),
        ("train --seed -1", "--seed '-1' is not valid: give a whole number of at least 0."),
        ("train --clip-norm 0", "--clip-norm '0' is not valid: give a number above 0."),
        (
            "train --optimizer adamm",
            "--optimizer 'adamm' is not valid (did you mean adam or adamw?): give one of "
                + "sgd, adam, adamw, rmsprop, adagrad, lars, lamb."
        ),
        (
            "train --schedule cosin",
            "--schedule 'cosin' is not valid (did you mean cosine?): give one of "
                + "constant, step, multistep, cosine, polynomial, onecycle, plateau."
        ),
        ("train --precision half", "--precision 'half' is not valid: give one of fp32, bf16."),
        ("train --compress bf61", "--compress 'bf61' is not valid (did you mean bf16?): give one of none, bf16."),
        ("bench --precision fp23", "--precision 'fp23' is not valid (did you mean fp32?): give one of fp32, bf16."),
        ("bench --compress bf61", "--compress 'bf61' is not valid (did you mean bf16?): give one of none, bf16."),
        (
            "bench --compress bf16",
            "--compress has no effect: all ranks are on one host, and none rounds its gradients; "
                + "start ranks on several hosts with mpirun, or leave it out."
        ),
        (
            "train --coordinator inlin",
            "--coordinator 'inlin' is not valid (did you mean inline?): give one of inline, dedicated."
        ),
        ("train --progress dots", "--progress 'dots' is not valid: give one of auto, bar, lines, none."),
        (
            "train --augment flip,permute",
            "--augment 'permute' is not valid (did you mean permute-pixels?): give some of preset, resize, "
                + "center-crop, random-crop, random-resized-crop, flip, rotation, color-jitter, cutout, "
                + "trivial-augment, permute-pixels, mixup, cutmix."
        ),
        (
            "train --augment random-crop:32:x",
            "--augment 'random-crop:32:x' is not valid: give random-crop:SIDE[:PADDING]; 'x' is not a number of pixels "
                + "from 0 to 4096."
        ),
        ("train --betas 0.9", "--betas '0.9' is not valid: give two numbers in 0 ..< 1, such as 0.9,0.999."),
        (
            "train --optimizer adam --momentum 0.5",
            "--momentum has no effect: it belongs to sgd, rmsprop and lars and the optimizer is adam; leave it out."
        ),
        (
            "train --gamma 0.5",
            "--gamma has no effect: it belongs to the schedules step, multistep and plateau "
                + "and the schedule is constant; change --schedule."
        ),
        (
            "train --decay weights",
            "--decay has no effect: there is no weight decay; give --weight-decay above 0."
        ),
        ("train --ema 1", "--ema '1' is not valid: give a number of at least 0 and below 1."),
        (
            "train --monitor top1",
            "--monitor has no effect: evaluations decide nothing; give --schedule plateau or --early-stop."
        ),
        (
            "train --schedule onecycle --warmup-epochs 1",
            "--warmup-epochs has no effect: the schedule onecycle has a rise of its own; use --pct-start."
        ),
        (
            "train --schedule plateau --gamma 1",
            "--gamma '1.0' is not valid: give a number above 0 and below 1 for the schedule plateau."
        ),
        (
            "evaluate x --weights average",
            "--weights 'average' is not valid (did you mean averaged?): give one of training, averaged."
        ),
        (
            "train --schedule multistep",
            "--schedule multistep needs the epochs at which the rate falls; give --milestones, such as 30,60."
        ),
        (
            "train --schedule multistep --milestones 3,2",
            "--milestones '3,2' is not valid: give ascending epochs, such as 30,60,90."
        ),
        (
            "train --nesterov --momentum 0",
            "--nesterov looks ahead along the momentum, which is 0; give --momentum above 0."
        ),
        (
            "train --coordinator dedicated",
            "--coordinator dedicated needs a rank that does not train, and there is only one rank; "
                + "start two or more (--workers 1, or mpirun -np 2), or use --coordinator inline."
        ),
        (
            "train --batch-size 20000",
            "--batch-size 20000 is larger than the 10000 training samples of mnist-sample; give --batch-size 10000 or less."
        ),
        ("train --classes 5", "--classes 5 is fewer than the 10 classes of mnist-sample."),
        (
            "train --model char-rnn --data text-sample --classes 80",
            "--classes 80 is more than the 61 characters of text-sample, which are its classes; leave --classes out."
        ),
        (
            "train --model rnn-hello --data hello --classes 5",
            "--classes 5 is more than the 4 characters of hello, which are its classes; leave --classes out."
        ),
        ("train --config none.yaml", "--config none.yaml: there is no such file."),
        ("train --resume auto", "--resume auto needs the run directory: give --out DIR as well."),
        (
            "train --log-level loud",
            "--log-level 'loud' is not valid: give one of trace, debug, info, notice, warning, error, critical."
        ),
        ("evaluate", "no model is given: name a run directory or a checkpoint, or give --model and --init."),
        ("evaluate x --split tset", "--split 'tset' is not valid (did you mean test?): give one of train, test."),
        (
            "models lenet",
            "unknown model 'lenet' (did you mean lenet5 or alexnet or googlenet?); 'dtrain models' lists all."
        ),
        ("models --classes 3", "--classes has no effect without a model's name; add the name."),
        ("export x --format onxn", "--format 'onxn' is not valid (did you mean onnx?): give one of safetensors, onnx."),
        (
            "bench --model nlp",
            "unknown model 'nlp' (did you mean mlp?); 'dtrain models' lists all."
        ),
        ("bench --steps 0", "--steps '0' is not valid: give a whole number from 1 to 1000000."),
        (
            "bench --batch-size 9223372036854775807",
            "--batch-size '9223372036854775807' is not valid: give a whole number from 1 to 1000000."
        ),
        (
            "models mlp --classes 9223372036854775807",
            "--classes '9223372036854775807' is not valid: give a whole number from 1 to 1000000."
        ),
        (
            "train --warmup-epochs 1e300",
            "--warmup-epochs '1e300' is not valid: give a number of at most 1000000000."
        ),
        ("generate --checkpoint x --seed -1", "--seed '-1' is not valid: give a whole number of at least 0."),
        ("data show hello --seed -1", "--seed '-1' is not valid: give a whole number of at least 0."),
        ("data show", "Missing expected argument '<spec>'\nSee 'dtrain data show --help'."),
        ("data shwo", "Unexpected argument 'shwo'\nSee 'dtrain data --help'."),
    ]

    @Test(arguments: mistakes) func aMistakeIsNamedWithItsRemedy(arguments: String, message: String) throws {
        let command = try Command()
        let outcome = try command.dtrain(words: arguments)
        expect(outcome, status: 2, stderr: "dtrain: \(message)\n")
        #expect(try command.names(in: "").isEmpty, "a mistake leaves nothing behind")
    }

    @Test func underMpirunAMistakeIsToldOnce() throws {
        let command = try Command()
        expectError(try command.mpirun(3, "train", "--modle", "mlp"), status: 2, "Did you mean '--model'?")
        expectError(
            try command.mpirun(4, "train", "--batch-size", "2"), status: 2,
            "--batch-size 2 is too small for 4 training ranks", "give --batch-size 4 or more, or start fewer ranks.")
    }

    @Test(arguments: ["train", "bench"]) func workersUnderMpirunMustAgree(subcommand: String) throws {
        let command = try Command()
        expectError(
            try command.mpirun(2, subcommand, "--workers", "3"), status: 2,
            "--workers 3 does not go with 2 ranks that mpirun started")
    }

    @Test func workersWithoutMpirunSayWhatToInstall() throws {
        let command = try Command()
        let outcome = try command.dtrain("train", "--workers", "2", environment: ["PATH": "/nowhere"])
        expect(
            outcome, status: 2,
            stderr:
                "dtrain: --workers needs mpirun, which is not on the PATH; install it (apt-get install openmpi-bin), "
                + "or train with one process: leave --workers out.\n")
    }
}
