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
import org.junit.jupiter.api.BeforeEach
import org.junit.jupiter.api.Test
import java.io.File
import javax.imageio.ImageIO
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
            val file = File("target/parked-sheet.png")
            file.writeBytes(fixture.run { picture(client, id) })
            val image = ImageIO.read(file)
            assertEquals(WIDTH to HEIGHT, image.width to image.height)
            // The sheet has text and colors: an empty one has only a few.
            val colors = (0 until image.width).flatMap { x -> (0 until image.height).map { y -> image.getRGB(x, y) } }.toSet()
            assert(colors.size > 100) { "${colors.size} colors" }
        }

    private suspend fun picture(client: RejoinClient, id: String): ByteArray {
        var state: ParkedState? = null
        val scene = ImageComposeScene(WIDTH, HEIGHT, Density(SCALE)) { Screen(client, id) { state = it } }
        try {
            withTimeout(30.seconds) {
                while (state?.view == null) {
                    scene.render(0)
                    delay(5.milliseconds)
                }
            }
            scene.render(0)
            return scene.render(1_000_000_000).encodeToData(EncodedImageFormat.PNG)!!.bytes
        } finally {
            scene.close()
        }
    }

    @OptIn(ExperimentalMaterial3Api::class)
    @Composable
    private fun Screen(client: RejoinClient, id: String, onState: (ParkedState) -> Unit) {
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
                        ParkedBody(state.view, null, true, null, {}, {}, ParkedTexts())
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
