/*
 * Test support: whether Skia can draw here, waiting for an element, and the font of the pictures.
 */
package dev.rejoin.compose

import androidx.compose.material3.Typography
import androidx.compose.ui.test.ComposeUiTest
import androidx.compose.ui.test.ExperimentalTestApi
import androidx.compose.ui.test.SemanticsMatcher
import androidx.compose.ui.text.TextStyle
import androidx.compose.ui.text.font.FontFamily
import androidx.compose.ui.text.font.FontWeight
import androidx.compose.ui.text.platform.Font
import org.jetbrains.skia.Surface
import org.junit.jupiter.api.Assumptions.assumeTrue

/** Skips the test if Skia's library or a library that it needs is missing, and names it. */
fun assumeSkia() {
    val missing = runCatching { Surface.makeRasterN32Premul(1, 1).close() }.exceptionOrNull()
    assumeTrue(missing == null, "Skia cannot be loaded: $missing")
}

/** Waits until an element is shown: results of the engine arrive on its own threads. */
@OptIn(ExperimentalTestApi::class)
fun ComposeUiTest.awaits(element: SemanticsMatcher): Unit =
    waitUntil(timeoutMillis = 30_000) { onAllNodes(element).fetchSemanticsNodes().isNotEmpty() }

/** The typography of Material with Roboto, whatever fonts the machine has. */
val roboto: Typography by lazy {
    val family =
        FontFamily(
            listOf("Regular" to FontWeight.Normal, "Medium" to FontWeight.Medium).map { (name, weight) ->
                val path = "/META-INF/resources/webjars/roboto-fontface/0.10.0/fonts/roboto/Roboto-$name.woff"
                Font("Roboto-$name", Typography::class.java.getResourceAsStream(path)!!.readBytes(), weight)
            },
        )
    fun TextStyle.inRoboto() = copy(fontFamily = family)
    Typography().run {
        copy(
            headlineSmall = headlineSmall.inRoboto(),
            titleLarge = titleLarge.inRoboto(),
            titleMedium = titleMedium.inRoboto(),
            bodyLarge = bodyLarge.inRoboto(),
            bodyMedium = bodyMedium.inRoboto(),
            bodySmall = bodySmall.inRoboto(),
            labelLarge = labelLarge.inRoboto(),
            labelMedium = labelMedium.inRoboto(),
            labelSmall = labelSmall.inRoboto(),
        )
    }
}
