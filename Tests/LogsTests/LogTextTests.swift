// The scanner, against Swift's own reading of the same text.

@testable import Logs
import Testing
import TestSupport
