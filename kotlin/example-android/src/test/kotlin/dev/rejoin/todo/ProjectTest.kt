/*
 * The files of the Gradle project that no other test reads: what they refer to exists. Gradle itself does not run.
 */
package dev.rejoin.todo

import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import java.io.File
import javax.xml.parsers.DocumentBuilderFactory

class ProjectTest {
    private val example = File(System.getProperty("rejoin.example")).canonicalFile
    private val main = File(example, "app/src/main")

    @Test
    fun `manifest names classes of the app`() {
        val named = Regex("android:name=\"\\.(\\w+)\"").findAll(File(main, "AndroidManifest.xml").readText()).map { it.groupValues[1] }.toList()
        assertEquals(listOf("TodoApp", "MainActivity"), named)
        for (name in named) Class.forName("dev.rejoin.todo.$name", false, javaClass.classLoader)
    }

    @Test
    fun `resources are well-formed and those of the manifest exist`() {
        val files = File(main, "res").walk().filter { it.extension == "xml" }.toList()
        for (file in files) DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(file)
        val values = files.filter { it.parentFile.name == "values" }.joinToString { it.readText() }
        for (used in Regex("\"@(\\w+)/([\\w.]+)\"").findAll(File(main, "AndroidManifest.xml").readText())) {
            val (type, name) = used.destructured
            val exists = File(main, "res/$type/$name.xml").exists() || "<$type name=\"$name\"" in values
            assertTrue(used.value, exists)
        }
    }

    @Test
    fun `tables are those of the demo`() {
        val tables = File(example, "server/tables.sql").readText().substringAfter("CREATE")
        assertTrue(tables in File(example, "../demo/src/scene.rs").readText())
    }

    @Test
    fun `versions of Gradle are those that Maven compiles with`() {
        val catalog = File(example, "gradle/libs.versions.toml").readLines()
        fun version(name: String) = catalog.single { it.startsWith("$name = \"") }.split('"')[1]
        val poms = listOf("pom.xml", "rejoin-compose/pom.xml", "example-android/classes/pom.xml").joinToString { File(example, "../../kotlin/$it").readText() }
        for ((property, name) in listOf("lifecycle" to "lifecycle", "stdlib" to "kotlin")) {
            assertTrue(property, "<$property.version>${version(name)}<" in poms)
        }
        assertTrue("compose", "<androidx.version>${version("compose")}<" in poms)
        assertTrue("material3", "<androidx.material3.version>${version("material3")}<" in poms)
        assertTrue("activity", "<version>${version("activity")}</version>" in poms)
        assertTrue("rejoin", "<version>${version("rejoin")}</version>" in poms)
    }
}
