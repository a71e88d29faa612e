/** Imported first by every script: an old Node stops here with one line. Scripts keep to syntax that Node 14 can parse
 * (a lint setting), so that the line is reached. */
const needed = [20, 19]
const [major, minor] = process.versions.node.split('.').map(Number)

if (major < needed[0] || (major === needed[0] && minor < needed[1])) {
  console.error(
    `rewardlab: Node ${process.versions.node} is too old; ${needed.join('.')} or later is needed. ` +
      'Install a current Node (nodejs.org, or your version manager), then run again.',
  )
  process.exit(1)
}
