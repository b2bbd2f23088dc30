extension RemoteDataset {
    /// Every data set that can be fetched. Addresses and MD5 as torchvision 0.28 and the data sets' own pages have them.
    public static let all = [mnist, fashionMNIST, cifar10, cifar100]

    /// Handwritten digits (LeCun et al. 1998): 11.6 MB.
    static let mnist = RemoteDataset(
        name: "mnist", title: "MNIST",
        bases: ["https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"],
        files: [
            File(name: "train-images-idx3-ubyte.gz", checksum: .md5("f68b3c2dcbeaaa9fbdd348bbdeb94873")),
            File(name: "train-labels-idx1-ubyte.gz", checksum: .md5("d53e105ee54ea40749a09fcbcd1e9432")),
            File(name: "t10k-images-idx3-ubyte.gz", checksum: .md5("9fb629c4189551a2d022fa330f9573f3")),
            File(name: "t10k-labels-idx1-ubyte.gz", checksum: .md5("ec29112dd5afa0611ce80d1b7f02629c")),
        ])

    /// Articles of clothing (Xiao, Rasul, Vollgraf 2017): 30.9 MB.
    static let fashionMNIST = RemoteDataset(
        name: "fashion-mnist", title: "Fashion-MNIST",
        bases: ["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"],
        files: [
            File(name: "train-images-idx3-ubyte.gz", checksum: .md5("8d4fb7e6c68d591d4c3dfef9ec88bf0d")),
            File(name: "train-labels-idx1-ubyte.gz", checksum: .md5("25c81989df183df01b3e8a0aad5dffbe")),
            File(name: "t10k-images-idx3-ubyte.gz", checksum: .md5("bef4ecab320f06d8554ea6380940ec79")),
            File(name: "t10k-labels-idx1-ubyte.gz", checksum: .md5("bb300cfdad3c16e7a12a480ee83cd310")),
        ])

    /// Photographs of ten kinds of things (Krizhevsky 2009), the binary version: 170 MB. A record is a label and
    /// 3 × 32 × 32 pixels.
    static let cifar10 = RemoteDataset(
        name: "cifar10", title: "CIFAR-10", bases: ["https://www.cs.toronto.edu/~kriz/"],
        files: [File(name: "cifar-10-binary.tar.gz", checksum: .md5("c32a1d4ab5d03f1284b67883e8d87530"))],
        content: Content(
            folder: "cifar-10-batches-bin",
            files: [
                "data_batch_1.bin": 10_000 * 3073, "data_batch_2.bin": 10_000 * 3073, "data_batch_3.bin": 10_000 * 3073,
                "data_batch_4.bin": 10_000 * 3073, "data_batch_5.bin": 10_000 * 3073, "test_batch.bin": 10_000 * 3073,
            ]))

    /// Photographs of a hundred kinds of things (Krizhevsky 2009), the binary version: 169 MB. A record is a coarse
    /// label, a fine label and 3 × 32 × 32 pixels.
    static let cifar100 = RemoteDataset(
        name: "cifar100", title: "CIFAR-100", bases: ["https://www.cs.toronto.edu/~kriz/"],
        files: [File(name: "cifar-100-binary.tar.gz", checksum: .md5("03b5dce01913d631647c71ecec9e9cb8"))],
        content: Content(
            folder: "cifar-100-binary", files: ["train.bin": 50_000 * 3074, "test.bin": 10_000 * 3074]))
}
