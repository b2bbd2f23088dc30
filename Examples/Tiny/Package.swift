// swift-tools-version: 6.1
import PackageDescription

let package = Package(
    name: "tiny",
    dependencies: [.package(name: "dtrain", path: "../..")],
    targets: [.executableTarget(name: "tiny", dependencies: [.product(name: "DTrain", package: "dtrain")])]
)
