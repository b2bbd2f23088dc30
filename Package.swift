// swift-tools-version: 6.1
import PackageDescription

/// The rooms of dtrain and what each may see; `docs/architecture.md` explains the order.
let package = Package(
    name: "dtrain",
    products: [
        .library(name: "DTrain", targets: ["DTrain"]),
        .executable(name: "dtrain", targets: ["dtrain"]),
    ],
    traits: [
        .trait(name: "OneDNN", description: "Convolutions by oneDNN, also in bf16 (needs libdnnl)."),
        .default(enabledTraits: ["OneDNN"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.0.0"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
    ],
    targets: [
        // System libraries: each has a pkg-config file, so that headers and link flags follow the machine.
        .systemLibrary(name: "COpenMPI", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev"])]),
        .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
        .systemLibrary(name: "CTurboJPEG", pkgConfig: "libturbojpeg", providers: [.apt(["libturbojpeg0-dev"])]),
        .systemLibrary(name: "CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),

        // C: what MPI's macros, libpng's jumps, the embedded data and the inner loops need.
        .target(name: "CMPIShim", dependencies: ["COpenMPI"]),
        .target(name: "CImageShim", dependencies: ["CPNG"]),
        // libcurl's header alone (libcurl4-openssl-dev): the library is loaded with the first transfer.
        .target(name: "CCurlShim", linkerSettings: [.linkedLibrary("dl")]),
        // oneDNN (libdnnl-dev), which has no pkg-config file; without the trait nothing is in it.
        .target(
            name: "COneDNNShim",
            cSettings: [.define("DT_ONEDNN", .when(traits: ["OneDNN"]))],
            linkerSettings: [.linkedLibrary("dnnl", .when(traits: ["OneDNN"]))]),
        .target(name: "CKernels"),
        .target(name: "CSamples", exclude: ["data"]),
        .target(name: "CAllocationCounter"),

        .target(name: "DTrainTensor", dependencies: ["CKernels"]),
        .target(
            name: "DTrainEngine",
            dependencies: [
                "DTrainTensor", "CKernels", "COpenBLAS",
                .target(name: "COneDNNShim", condition: .when(traits: ["OneDNN"])),
            ]),
        .target(name: "DTrainLayers", dependencies: ["DTrainEngine", "DTrainTensor"]),
        .target(name: "DTrainModels", dependencies: ["DTrainLayers", "DTrainEngine", "DTrainTensor"]),
        .target(name: "DTrainOptimizers", dependencies: ["DTrainTensor", "CKernels"]),
        .target(
            name: "DTrainData",
            dependencies: ["DTrainTensor", "CKernels", "CSamples", "CZlib", "CPNG", "CImageShim", "CTurboJPEG"]),
        .target(name: "DTrainCollectives", dependencies: ["DTrainTensor", "CKernels"]),
        .target(name: "DTrainMPI", dependencies: ["DTrainCollectives", "DTrainTensor", "CMPIShim"]),
        .target(name: "DTrainDigest", dependencies: ["CCrypto"]),
        .target(name: "DTrainFetch", dependencies: ["DTrainDigest", "DTrainData", "DTrainTensor", "CCurlShim"]),
        .target(name: "DTrainCheckpoint", dependencies: ["DTrainTensor", "DTrainDigest", "CZlib"]),
        .target(
            name: "DTrainONNX",
            dependencies: [
                "DTrainEngine", "DTrainTensor", .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ],
            exclude: ["onnx.proto"]),
        .target(name: "DTrainEvents"),
        .target(name: "DTrainReport", dependencies: ["DTrainEvents"]),
        .target(
            name: "DTrainTrainer",
            dependencies: [
                "DTrainTensor", "DTrainEngine", "DTrainOptimizers", "DTrainData", "DTrainCollectives",
                "DTrainCheckpoint", "DTrainEvents",
            ]),
        .target(
            name: "DTrainCLI",
            dependencies: [
                "DTrainTensor", "DTrainEngine", "DTrainLayers", "DTrainModels", "DTrainOptimizers", "DTrainData",
                "DTrainCollectives", "DTrainMPI", "DTrainCheckpoint", "DTrainONNX", "DTrainEvents", "DTrainReport",
                "DTrainTrainer", "DTrainFetch", "COpenBLAS",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                "Yams",
            ]),
        .target(
            name: "DTrain",
            dependencies: ["DTrainLayers", "DTrainModels", "DTrainData", "DTrainEngine", "DTrainTensor", "DTrainCLI"]),
        .executableTarget(name: "dtrain", dependencies: ["DTrainCLI", "DTrainEngine", "CAllocationCounter"]),

        // Tests mirror the targets.
        .target(name: "TestSupport", dependencies: ["DTrainTensor"], path: "Tests/TestSupport"),
        .testTarget(name: "DTrainTensorTests", dependencies: ["DTrainTensor", "TestSupport"]),
        // AMX in software, for processors without it.
        .target(name: "CTileEmulator", path: "Tests/CTileEmulator"),
        .testTarget(
            name: "DTrainEngineTests",
            dependencies: ["DTrainEngine", "DTrainLayers", "DTrainTensor", "CKernels", "CTileEmulator", "TestSupport"],
            exclude: ["Fixtures"]),
        // What the rules that choose a convolution's passes are derived from.
        .executableTarget(
            name: "convolution-speed", dependencies: ["DTrainModels", "DTrainEngine"], path: "Tests/ConvolutionSpeed"),
        .testTarget(
            name: "DTrainModelsTests",
            dependencies: [
                "DTrainModels", "DTrainLayers", "DTrainEngine", "DTrainOptimizers", "DTrainCheckpoint",
                "DTrainTensor", "TestSupport", "CAllocationCounter",
            ],
            exclude: ["Fixtures"]),
        .testTarget(
            name: "DTrainOptimizersTests", dependencies: ["DTrainOptimizers", "DTrainTensor", "TestSupport"],
            exclude: ["Fixtures"]),
        .testTarget(
            name: "DTrainDataTests",
            dependencies: ["DTrainData", "DTrainTensor", "CZlib", "CPNG", "TestSupport", "CAllocationCounter"],
            exclude: ["Fixtures"]),
        .testTarget(
            name: "DTrainCollectivesTests",
            dependencies: ["DTrainCollectives", "DTrainTensor", "TestSupport", "CAllocationCounter"]),
        // Runs under mpirun: what DTrainMPITests starts.
        .executableTarget(
            name: "mpi-check", dependencies: ["DTrainMPI", "DTrainCollectives", "DTrainTensor", "CMPIShim"],
            path: "Tests/MPICheck"),
        .testTarget(
            name: "DTrainMPITests", dependencies: ["DTrainMPI", "DTrainCollectives", "mpi-check", "TestSupport"]),
        .testTarget(name: "DTrainDigestTests", dependencies: ["DTrainDigest"]),
        // The loopback server, which the tests of the command use as well.
        .target(name: "LoopbackServer", path: "Tests/LoopbackServer"),
        .testTarget(
            name: "DTrainFetchTests",
            dependencies: ["DTrainFetch", "DTrainDigest", "DTrainData", "LoopbackServer", "TestSupport", "CZlib"]),
        // Dies on purpose: what DTrainCheckpointTests starts.
        .executableTarget(
            name: "store-check", dependencies: ["DTrainCheckpoint", "StoreSamples"], path: "Tests/StoreCheck"),
        .target(name: "StoreSamples", dependencies: ["DTrainCheckpoint", "DTrainTensor"], path: "Tests/StoreSamples"),
        // Reads damaged weights, whose memory and time DTrainCheckpointTests watches.
        .executableTarget(
            name: "weights-check", dependencies: ["DTrainCheckpoint", "DTrainTensor"], path: "Tests/WeightsCheck"),
        .testTarget(
            name: "DTrainCheckpointTests",
            dependencies: [
                "DTrainCheckpoint", "DTrainDigest", "DTrainTensor", "StoreSamples", "TestSupport", "store-check",
                "weights-check",
            ],
            exclude: ["Fixtures"]),
        .testTarget(
            name: "DTrainONNXTests",
            dependencies: [
                "DTrainONNX", "DTrainModels", "DTrainLayers", "DTrainEngine", "DTrainCheckpoint", "DTrainTensor",
                "TestSupport", .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ]),
        .testTarget(name: "DTrainReportTests", dependencies: ["DTrainReport", "DTrainEvents", "TestSupport"]),
        .testTarget(
            name: "DTrainTrainerTests",
            dependencies: [
                "DTrainTrainer", "DTrainModels", "DTrainLayers", "DTrainEngine", "DTrainData", "DTrainCollectives",
                "DTrainOptimizers", "DTrainCheckpoint", "DTrainEvents", "DTrainTensor", "TestSupport",
                "CAllocationCounter",
            ]),
        .testTarget(
            name: "DTrainCLITests",
            dependencies: [
                "DTrainCLI", "DTrainTrainer", "DTrainCheckpoint", "DTrainData", "DTrainEngine", "dtrain",
                "CAllocationCounter",
                "LoopbackServer",
                "TestSupport",
            ]),
    ],
    swiftLanguageModes: [.v6],
    cLanguageStandard: .gnu2x
)
