/*
 * The manifest merger of the Android Gradle Plugin merges an app's manifest with the archive's.
 */
package dev.rejoin.checks

import com.android.manifmerger.ManifestMerger2
import com.android.manifmerger.ManifestSystemProperty
import com.android.manifmerger.MergingReport
import com.android.utils.StdLogger
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.w3c.dom.Element
import java.nio.file.Files
import kotlin.io.path.writeText

class ManifestMergerTest {
    @Test
    fun `app gets both permissions and keeps its own declarations`() {
        val report = merge(minSdk = 26)
        val merged = manifest(report)
        assertEquals(Manifest.PERMISSIONS, Manifest.permissions(merged))
        assertEquals("app.sample", merged.getAttribute("package"))
        assertEquals("26", Manifest.elements(merged, "uses-sdk").single().getAttribute("android:minSdkVersion"))
        val application = Manifest.elements(merged, "application").single()
        assertEquals("app.sample.SampleApp", application.getAttribute("android:name"))
        assertEquals(emptyList<Element>(), Manifest.elements(application))
    }

    @Test
    fun `app for an older Android is refused with the number`() {
        val report = merge(minSdk = 21)
        assertEquals(MergingReport.Result.ERROR, report.result)
        val reasons = report.loggingRecords.joinToString { it.message }
        assertTrue("minSdkVersion 21" in reasons && "24" in reasons, reasons)
    }

    private fun manifest(report: MergingReport): Element {
        assertEquals(MergingReport.Result.SUCCESS, report.result, report.loggingRecords.joinToString { it.message })
        return Manifest.parse(report.getMergedDocument(MergingReport.MergedManifestKind.MERGED).orEmpty().toByteArray())
    }

    private fun merge(minSdk: Int): MergingReport {
        val folder = Files.createTempDirectory(Build.scratch, "manifest")
        val app = folder.resolve("AndroidManifest.xml")
        app.writeText(
            """
            <manifest xmlns:android="http://schemas.android.com/apk/res/android">
                <application android:name="app.sample.SampleApp" />
            </manifest>
            """.trimIndent(),
        )
        return ManifestMerger2.newMerger(app.toFile(), StdLogger(StdLogger.Level.ERROR), ManifestMerger2.MergeType.APPLICATION)
            .setNamespace("app.sample")
            .setOverride(ManifestSystemProperty.Document.PACKAGE, "app.sample")
            .setOverride(ManifestSystemProperty.UsesSdk.MIN_SDK_VERSION, "$minSdk")
            .setOverride(ManifestSystemProperty.UsesSdk.TARGET_SDK_VERSION, "35")
            .addLibraryManifest(Build.extract("AndroidManifest.xml").toFile())
            .merge()
    }
}
