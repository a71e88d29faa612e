/* Importing this file registers every kernel of the backend. */
import './cumulative.js'
import './elementwise.js'
import './engine.js'
import './indexing.js'
import './matmul.js'
import './reduction.js'
import './shape.js'
import './sorting.js'
