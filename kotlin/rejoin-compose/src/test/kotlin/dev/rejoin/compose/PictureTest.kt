/*
 * Draws the sheet of a really parked mutation to target/parked-sheet.png; docs/images has a copy of it.
 */
package dev.rejoin.compose

import androidx.compose.foundation.background
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.material3.BottomSheetDefaults
import androidx.compose.material3.ExperimentalMaterial3Api
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.material3.lightColorScheme
import androidx.compose.runtime.Composable
import androidx.compose.runtime.LaunchedEffect
import androidx.compose.runtime.remember
import androidx.compose.runtime.rememberCoroutineScope
import androidx.compose.ui.Alignment
import androidx.compose.ui.ImageComposeScene
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.unit.Density
import androidx.compose.ui.unit.dp
import dev.rejoin.FirstSync
import dev.rejoin.PendingCounts
import dev.rejoin.RejoinClient
import dev.rejoin.SyncState
import dev.rejoin.SyncStatus
import kotlinx.coroutines.delay
import kotlinx.coroutines.withTimeout
import org.jetbrains.skia.EncodedImageFormat
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.BeforeEach
import org.junit.jupiter.api.Test
import java.awt.image.BufferedImage
import java.io.File
import javax.imageio.IIOImage
import javax.imageio.ImageIO
import javax.imageio.ImageWriteParam
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlin.time.Instant

class PictureTest {
    @BeforeEach
    fun needsSkia() = assumeSkia()

    @Test
    fun `picture of the sheet`() =
        Fixture().use { fixture ->
            val (client, id) =
                fixture.conflict(
                    mine = "UPDATE task SET title = 'Call the harbour office', rank = 3, note = 'Before noon'",
                    theirs = "UPDATE task SET title = 'Call the harbour master', rank = 2",
                )
            for ((name, isEdited) in listOf("parked-sheet" to false, "parked-sheet-edit" to true)) {
                val image = fixture.run { picture(client, id, isEdited) }
                write(image, File("target/$name.png"))
                // The smooth edges of texts have many colors; a picture without texts has few.
                val colors = image.getRGB(0, 0, WIDTH, HEIGHT, null, 0, WIDTH).distinct().size
                assertTrue(colors > 100, "$name: $colors colors")
            }
        }

    /** Writes a small file: without transparency, with the strongest compression. */
    private fun write(image: BufferedImage, file: File) {
        file.delete()
        val writer = ImageIO.getImageWritersByFormatName("png").next()
        val settings = writer.defaultWriteParam.apply { compressionMode = ImageWriteParam.MODE_EXPLICIT }
        settings.compressionQuality = 0f
        ImageIO.createImageOutputStream(file).use { out ->
            writer.output = out
            writer.write(null, IIOImage(image, null, null), settings)
        }
        assertEquals(WIDTH to HEIGHT, ImageIO.read(file).run { width to height })
    }

    private suspend fun picture(client: RejoinClient, id: String, isEdited: Boolean): BufferedImage {
        var state: ParkedState? = null
        val scene = ImageComposeScene(WIDTH, HEIGHT, Density(SCALE)) { Screen(client, id, isEdited) { state = it } }
        try {
            withTimeout(30.seconds) {
                while (state?.view == null) {
                    scene.render(0)
                    delay(5.milliseconds)
                }
            }
            scene.render(0)
            val drawn = ImageIO.read(scene.render(1_000_000_000).encodeToData(EncodedImageFormat.PNG)!!.bytes.inputStream())
            return BufferedImage(WIDTH, HEIGHT, BufferedImage.TYPE_INT_RGB).apply { createGraphics().drawImage(drawn, 0, 0, null) }
        } finally {
            scene.close()
        }
    }

    @OptIn(ExperimentalMaterial3Api::class)
    @Composable
    private fun Screen(client: RejoinClient, id: String, isEdited: Boolean, onState: (ParkedState) -> Unit) {
        val scope = rememberCoroutineScope()
        val state = remember { ParkedState(client, id, scope).also(onState) }
        LaunchedEffect(state) { state.follow() }
        MaterialTheme(lightColorScheme(), typography = roboto) {
            Box(Modifier.fillMaxSize().background(MaterialTheme.colorScheme.surface)) {
                Behind()
                Box(Modifier.fillMaxSize().background(Color.Black.copy(alpha = 0.32f)))
                Surface(Modifier.align(Alignment.BottomCenter), shape = BottomSheetDefaults.ExpandedShape, color = BottomSheetDefaults.ContainerColor) {
                    Column(Modifier.fillMaxWidth(), horizontalAlignment = Alignment.CenterHorizontally) {
                        BottomSheetDefaults.DragHandle()
                        ParkedBody(state.view, null, true, state.view?.takeIf { isEdited }?.let(::editedFields), {}, {}, ParkedTexts())
                    }
                }
            }
        }
    }

    /** The app's own screen. */
    @Composable
    private fun Behind() {
        Row(Modifier.fillMaxWidth().padding(16.dp), Arrangement.SpaceBetween, Alignment.CenterVertically) {
            Text("Tasks", style = MaterialTheme.typography.titleLarge)
            SyncBadge(SyncStatus(SyncState.UpToDate(Instant.fromEpochMilliseconds(0)), FirstSync.DONE), counts = PendingCounts(0, 0, 0, 1))
        }
    }

    private companion object {
        const val SCALE = 1.75f
        const val WIDTH = (400 * SCALE).toInt()
        const val HEIGHT = (620 * SCALE).toInt()
    }
}
