/* Importing this file registers every kernel of the backend. */
import './elementwise.js'
import './engine.js'
import './matmul.js'
import './reduction.js'
import './shape.js'
