// swift-tools-version: 6.1
import PackageDescription

let package = Package(
    name: "Budget", targets: [.testTarget(name: "BudgetTests")])
