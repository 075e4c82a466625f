/*
 * Reads a POM with its parents, as far as the rules of Maven Central need it, and reports what those rules forbid.
 *
 * It replaces properties that the POM and its parents define. It reads neither profiles nor imported POMs.
 */
package dev.rejoin.checks

import org.w3c.dom.Element
import java.nio.file.Path
import javax.xml.parsers.DocumentBuilderFactory
import kotlin.io.path.exists

class Pom private constructor(private val project: Element, private val parent: Pom?, private val file: String) {
    val artifact: String get() = own("artifactId")?.textContent.orEmpty()

    /** What the rules forbid or miss, one line each. */
    fun problems(): List<String> = (identity() + people() + dependencies() + repositories()).map { "$file: $it" }

    private fun identity(): List<String> {
        val missing = listOf("artifactId", "name", "description").filter { text(own(it)).isEmpty() }
        val inherited = listOf("groupId", "version", "url").filter { text(inherited(it)).isEmpty() }
        val unresolved = listOf("name", "description", "url").filter { "\${" in text(inherited(it)) }
        return (missing + inherited).map { "<$it> is missing" } + unresolved.map { "<$it> has an undefined property" }
    }

    private fun people(): List<String> {
        val licences = inherited("licenses")?.let(::children).orEmpty()
        val developers = inherited("developers")?.let(::children).orEmpty()
        val scm = inherited("scm")
        return listOfNotNull(
            "<licenses> has no license with name and url".takeIf { licences.isEmpty() || !licences.all { text(it, "name") && text(it, "url") } },
            "<developers> has no developer with name and organization".takeIf {
                developers.isEmpty() || !developers.all { text(it, "name") && text(it, "organization") }
            },
            "<scm> has no connection, developerConnection or url".takeIf {
                scm == null || !listOf("connection", "developerConnection", "url").all { text(scm, it) }
            },
        )
    }

    private fun dependencies(): List<String> {
        val managed = ancestors().flatMap { pom -> pom.own("dependencyManagement")?.let { child(it, "dependencies") }?.let(::children).orEmpty() }
        val own = ancestors().flatMap { pom -> pom.own("dependencies")?.let(::children).orEmpty() }
        return (own + managed).mapNotNull { dependency ->
            val (group, name) = listOf("groupId", "artifactId").map { text(child(dependency, it)) }
            val source = child(dependency, "version") ?: managed.firstOrNull { text(child(it, "artifactId")) == name }?.let { child(it, "version") }
            val version = text(source)
            when {
                version.isEmpty() -> "$group:$name has no version"
                "\${" in version -> "$group:$name has the undefined version $version"
                version.endsWith("-SNAPSHOT") && group != "dev.rejoin" -> "$group:$name is a snapshot: $version"
                text(child(dependency, "scope")) == "system" -> "$group:$name is a file of this machine"
                else -> null
            }
        }.distinct()
    }

    private fun repositories(): List<String> =
        ancestors().flatMap { pom -> listOf("repositories", "pluginRepositories").filter { pom.own(it) != null }.map { "<$it> in ${pom.artifact}" } }

    private fun ancestors(): List<Pom> = generateSequence(this) { it.parent }.toList()

    private fun own(name: String): Element? = child(project, name)

    private fun inherited(name: String): Element? =
        own(name) ?: parent?.inherited(name) ?: own("parent")?.let { child(it, name) }

    private fun text(parent: Element, name: String): Boolean = text(child(parent, name)).isNotEmpty()

    private fun text(element: Element?): String = element?.textContent.orEmpty().trim().replace(PROPERTY) { property(it.groupValues[1]) ?: it.value }

    private fun property(name: String): String? =
        if (name.startsWith("project.")) {
            inherited(name.removePrefix("project."))?.textContent?.takeIf { "\${" !in it }
        } else {
            ancestors().firstNotNullOfOrNull { pom -> pom.own("properties")?.let { child(it, name) } }?.let { text(it) }
        }

    companion object {
        private val PROPERTY = Regex("""\$\{([^}]+)}""")

        /** Reads [file], and its parents by their relative paths. [defaults] replaces properties that its build replaces. */
        fun read(file: Path, defaults: Map<String, String> = emptyMap()): Pom {
            val text = defaults.entries.fold(file.toFile().readText()) { text, (name, value) -> text.replace("\${$name}", value) }
            val project = DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(text.byteInputStream()).documentElement
            val parent = child(project, "parent")?.let { parent(file, it) }
            return Pom(project, parent, file.parent.relativize(file).toString().let { "${file.parent.fileName}/$it" })
        }

        private fun parent(file: Path, parent: Element): Pom? {
            val relative = child(parent, "relativePath")?.textContent ?: "../pom.xml"
            return generateSequence(file.parent) { it.parent }.map { it.resolve(relative).normalize() }.firstOrNull { it.exists() && it != file }?.let(::read)
        }

        private fun children(parent: Element): List<Element> = Manifest.elements(parent)

        private fun child(parent: Element, name: String): Element? = Manifest.elements(parent, name).firstOrNull()
    }
}
