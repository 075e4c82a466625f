/*
 * The contents of the Android archive: its entries, its manifest, its classes, and the licences of its native code.
 */
package dev.rejoin.checks

import kotlinx.serialization.json.Json
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Assumptions.assumeTrue
import org.junit.jupiter.api.Test
import kotlin.io.path.exists

class ArchiveTest {
    private val required = setOf("AndroidManifest.xml", "R.txt", "classes.jar", "proguard.txt")
    private val notices = setOf("THIRD-PARTY-LICENSES", "rejoin.cdx.json")
    private val libraries = listOf("arm64-v8a", "armeabi-v7a", "x86", "x86_64").map { "jni/$it/librejoin_ffi.so" }.toSet()

    @Test
    fun `archive has its entries and no others`() {
        val found = Build.entries.keys
        assertEquals(required + if (Build.isNative) libraries else emptySet(), found - notices)
        // Both come from the same step of the packaging; native code is not published without them.
        assertEquals(if (Build.isNative) notices else found intersect notices, if (found.none { it in notices }) emptySet() else notices)
    }

    @Test
    fun `manifest declares Android 7 and the two permissions`() {
        val manifest = Manifest.parse(Build.entry("AndroidManifest.xml"))
        assertEquals("dev.rejoin.android", manifest.getAttribute("package"))
        assertEquals(listOf("uses-sdk", "uses-permission", "uses-permission"), Manifest.elements(manifest).map { it.tagName })
        assertEquals(mapOf("android:minSdkVersion" to "24"), Manifest.attributes(Manifest.elements(manifest, "uses-sdk").single()))
        assertEquals(Manifest.PERMISSIONS, Manifest.permissions(manifest))
        assertEquals(setOf("package", "xmlns:android"), Manifest.attributes(manifest).keys)
    }

    @Test
    fun `archive has the classes of its own package only`() {
        val classes = Build.unzip(Build.archiveClasses).keys.filterNot { it.startsWith("META-INF/") }
        assertEquals(emptyList<String>(), classes.filterNot { it.startsWith("dev/rejoin/android/") && it.endsWith(".class") })
        for (name in listOf("AndroidDatabase", "RejoinSyncWorker", "RejoinLifecycle")) assertTrue("dev/rejoin/android/$name.class" in classes, name)
    }

    @Test
    fun `archive has what its build generated of licences`() {
        val generated = Build.module.resolve("../../target/package/android")
        val expected = notices.filter { generated.resolve(it).exists() }.toSet()
        assertEquals(expected, Build.entries.keys intersect notices)
    }

    @Test
    fun `bill of materials lists the components of the native code`() {
        assumeTrue(Build.isNative || "rejoin.cdx.json" in Build.entries, "`cargo xtask package android` writes it")
        val bill = Json.parseToJsonElement(Build.entry("rejoin.cdx.json").decodeToString()).jsonObject
        assertEquals("CycloneDX", bill.getValue("bomFormat").jsonPrimitive.content)
        val components = bill.getValue("components").jsonArray.map { it.jsonObject.getValue("name").jsonPrimitive.content }
        assertTrue(components.size >= 50, "${components.size} components")
        assertTrue(components.any { "sqlite" in it }, "$components")
        val licences = Build.entry("THIRD-PARTY-LICENSES").decodeToString()
        assertTrue("Apache License" in licences && "MIT" in licences, licences.take(200))
    }
}
