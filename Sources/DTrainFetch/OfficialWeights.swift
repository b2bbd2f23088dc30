extension PretrainedWeights {
    /// Every file, as torchvision 0.28 has them, the versions of a model side by side with the first in front.
    public static let all = table.map {
        PretrainedWeights(
            model: $0.model, version: "IMAGENET1K_V\($0.version)", fileName: "\($0.file).pth",
            base: "https://download.pytorch.org/models/")
    }

    private static let table: [(model: String, version: Int, file: String)] = [
        ("alexnet", 1, "alexnet-owt-7be5be79"),
        ("vgg11", 1, "vgg11-8a719046"),
        ("vgg13", 1, "vgg13-19584684"),
        ("vgg16", 1, "vgg16-397923af"),
        ("vgg19", 1, "vgg19-dcbb9e9d"),
        ("vgg11_bn", 1, "vgg11_bn-6002323d"),
        ("vgg13_bn", 1, "vgg13_bn-abd245e5"),
        ("vgg16_bn", 1, "vgg16_bn-6c64b313"),
        ("vgg19_bn", 1, "vgg19_bn-c79401a0"),
        ("googlenet", 1, "googlenet-1378be20"),
        ("resnet18", 1, "resnet18-f37072fd"),
        ("resnet34", 1, "resnet34-b627a593"),
        ("resnet50", 1, "resnet50-0676ba61"),
        ("resnet50", 2, "resnet50-11ad3fa6"),
        ("resnet101", 1, "resnet101-63fe2227"),
        ("resnet101", 2, "resnet101-cd907fc2"),
        ("resnet152", 1, "resnet152-394f9c45"),
        ("resnet152", 2, "resnet152-f82ba261"),
        ("resnext50_32x4d", 1, "resnext50_32x4d-7cdf4587"),
        ("resnext50_32x4d", 2, "resnext50_32x4d-1a0047aa"),
        ("resnext101_32x8d", 1, "resnext101_32x8d-8ba56ff5"),
        ("resnext101_32x8d", 2, "resnext101_32x8d-110c445d"),
        ("wide_resnet50_2", 1, "wide_resnet50_2-95faca4d"),
        ("wide_resnet50_2", 2, "wide_resnet50_2-9ba9bcbe"),
        ("wide_resnet101_2", 1, "wide_resnet101_2-32ee1156"),
        ("wide_resnet101_2", 2, "wide_resnet101_2-d733dc28"),
        ("densenet121", 1, "densenet121-a639ec97"),
        ("densenet169", 1, "densenet169-b2777c0a"),
        ("densenet201", 1, "densenet201-c1103571"),
    ]
}
