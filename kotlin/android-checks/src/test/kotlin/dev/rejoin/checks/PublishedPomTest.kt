/*
 * The POMs of the published packages follow the rules of Maven Central. Signatures, sources and documentation are not read here.
 */
package dev.rejoin.checks

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.nio.file.Files
import kotlin.io.path.writeText

class PublishedPomTest {
    private val kotlin = Build.module.parent
    private val published = listOf("rejoin", "rejoin-bom", "rejoin-compose", "rejoin-host", "rejoin-sqldelight", "rejoin-test")

    @Test
    fun `published POMs follow the rules of Maven Central`() {
        assertEquals(emptyList<String>(), published.flatMap { Pom.read(kotlin.resolve("$it/pom.xml")).problems() })
    }

    @Test
    fun `POM of the Android archive follows the rules of Maven Central`() {
        val template = kotlin.resolve("rejoin-android/src/main/pom/rejoin-android.pom")
        // Its build replaces these by the values of rejoin-android/pom.xml.
        val values =
            mapOf("project.name" to "Rejoin for Android", "project.description" to "A library.", "project.version" to Build.property("rejoin.version"))
        assertEquals(emptyList<String>(), Pom.read(template, values).problems())
    }

    @Test
    fun `bom lists all published packages`() {
        val bom = kotlin.resolve("rejoin-bom/pom.xml").toFile().readText()
        for (name in published - "rejoin-bom" + "rejoin-android") assertTrue("<artifactId>$name</artifactId>" in bom, name)
    }

    @Test
    fun `each breach of a rule is reported`() {
        val pom = Files.createTempDirectory(Build.scratch, "pom").resolve("pom.xml")
        pom.writeText(BROKEN)
        val problems = Pom.read(pom).problems()
        val sections = listOf("<description>", "<url>", "<licenses>", "<developers>", "<scm>", "<repositories>")
        val versions = listOf("org.example:a is a snapshot", "org.example:b has the undefined", "org.example:c has no version")
        for (part in sections + versions) assertTrue(problems.any { part in it }, "$part is not in $problems")
        assertEquals(9, problems.size, "$problems")
    }

    private companion object {
        const val BROKEN =
            """
            <project>
              <groupId>org.example</groupId><artifactId>app</artifactId><version>1</version><name>App</name>
              <properties><a.version>1-SNAPSHOT</a.version></properties>
              <licenses><license><name>MIT</name></license></licenses>
              <repositories/>
              <dependencies>
                <dependency><groupId>org.example</groupId><artifactId>a</artifactId><version>${'$'}{a.version}</version></dependency>
                <dependency><groupId>org.example</groupId><artifactId>b</artifactId><version>${'$'}{b.version}</version></dependency>
                <dependency><groupId>org.example</groupId><artifactId>c</artifactId></dependency>
                <dependency><groupId>dev.rejoin</groupId><artifactId>d</artifactId><version>1-SNAPSHOT</version></dependency>
              </dependencies>
            </project>
            """
    }
}
