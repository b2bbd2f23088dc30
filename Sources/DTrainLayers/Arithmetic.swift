/// The sum, element by element, of two values of the same shape.
public func + (_ a: Value, _ b: Value) -> Value { a.applying(Addition(), with: [b]) }

/// The product, element by element, of two values of the same shape.
public func * (_ a: Value, _ b: Value) -> Value { a.applying(Multiplication(), with: [b]) }

/// Every element times a number.
public func * (_ scale: Float, _ x: Value) -> Value { x.applying(ScaleShift(scale: scale, shift: 0)) }

/// Every element plus a number.
public func + (_ x: Value, _ shift: Float) -> Value { x.applying(ScaleShift(scale: 1, shift: shift)) }

/// A number minus every element: 1 − x closes the gate that x opens.
public func - (_ shift: Float, _ x: Value) -> Value { x.applying(ScaleShift(scale: -1, shift: shift)) }
